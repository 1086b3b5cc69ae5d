"""Reads rejects files: a line each, with the place where it stands for errors."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import msgspec

from target_fullstory.batching.encoded_requests import identity
from target_fullstory.errors import InputError
from target_fullstory.kinds import Kind
from target_fullstory.mapping import MadeRequest, Rejected, stored_call


class Entry(msgspec.Struct, kw_only=True):
    """A line of a rejects file; what `replay` needs of it.

    Attributes:
        record: The record, decoded; UNSET where the line has none.
        request: The request made of it, as JSON; empty where the line has none.
        where: Its file and line, for errors.
    """

    stream: str
    kind: Kind
    code: str = "unknown"
    message: str = ""
    record: Any = msgspec.UNSET
    request: msgspec.Raw = msgspec.Raw()
    where: str = ""

    @property
    def has_record(self) -> bool:
        """Whether the record is there to be mapped again; what JSON cannot carry is there as text only."""
        return isinstance(self.record, dict)

    @property
    def is_untransformed(self) -> bool:
        """Whether the record is the tap's, as it was before a stream map."""
        return self.code == "stream_map_error"

    def made_request(self) -> MadeRequest | Rejected:
        """The request, ready to be sent; why it cannot be where it cannot."""
        body = bytes(self.request)
        if not body:
            return Rejected(self.code, self.message)
        try:
            if self.kind == "users":
                uid, user_id = identity(body)
                if uid or user_id:
                    return MadeRequest(self.kind, self.request, uid or user_id)
            elif self.kind == "events":
                event = msgspec.json.decode(body, type=_Event)
                return MadeRequest(self.kind, self.request, timed=event.timestamp is not None)
            else:
                return stored_call(self.kind, body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
        raise InputError(
            f"{self.where}: `request` is not a request of kind {self.kind}. Correct the line, or take it out."
        )


class _Event(msgspec.Struct):
    name: str
    timestamp: str | None = None


_decode = msgspec.json.Decoder(Entry).decode


def read_entries(paths: tuple[str, ...]) -> Iterator[tuple[Entry, int]]:
    """The lines of rejects files, in order, each with its length in bytes."""
    for path in paths:
        with open(path, "rb") as file:  # noqa: PTH123 - a path of the command line, shown as given
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield _read(line, f"{path}, line {number}"), len(line)


def digest_of(paths: tuple[str, ...]) -> str:
    """What the files hold, in a few characters: the same for the same replay."""
    digest = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:  # noqa: PTH123 - as above
            for line in file:
                digest.update(line)
    return digest.hexdigest()


def _read(line: bytes, where: str) -> Entry:
    try:
        entry = _decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        # Only a message about the structure: the decoder's others may quote what they met.
        reason = str(error) if isinstance(error, msgspec.ValidationError) else "it is not JSON"
        raise InputError(
            f"{where} is not a line of a rejects file: {reason}. Nothing was sent; correct the line, or "
            "take it out."
        ) from None
    entry.where = where
    return entry
