"""What mapping makes of records: requests, or the reason why there is none."""

from __future__ import annotations

from typing import Any

import msgspec

from target_fullstory.kinds import Kind


class Chunk(msgspec.Struct, frozen=True, gc=False):
    """The requests of records that follow each other, all of one kind."""

    kind: Kind  # what the records become: that of their stream, or `user_deletions` in a stream of users
    # One Struct or piece of JSON per record, in order: `msgspec.json.encode(requests[a:b])[1:-1]` are items
    # of a batch. For the kinds that Fullstory takes call by call, whole calls.
    requests: list[Any]
    # For what must keep its order per user, the `uid` of each record's user, or else the `id`; empty for all
    # else.
    keys: list[str]
    timed: bool  # every event carries a timestamp of its own, so that its body identifies it
    fingerprints: bytes = (
        b""  # what the snapshot will know the records by, packed in order; empty without one
    )

    # Of a mirror's users, what each is called, as of `snapshot.known_uids`.
    names: list[bytes] = []

    @property
    def untimed(self) -> int:
        """How many events carry none; at least one where the chunk is not `timed`."""
        return 0 if self.timed else max(1, sum(map(_is_untimed, self.requests)))


def _is_untimed(request: Any) -> bool:
    return getattr(request, "timestamp", "") is None


class MadeRequest(msgspec.Struct, frozen=True, gc=False):
    """The request of one record, with what `Chunk` has for several."""

    kind: Kind
    request: Any
    key: str | None = None
    timed: bool = False
    undeclared: list[str] = []  # properties whose value is not of its column's type

    @property
    def chunk(self) -> Chunk:
        """The request as a chunk of its own."""
        keys = [] if self.key is None else [self.key]
        return Chunk(self.kind, [self.request], keys, self.timed)


class Rejected(msgspec.Struct, frozen=True, gc=False):
    """A record that cannot become a request."""

    code: str  # A stable code, such as `missing_uid`
    message: str  # the reason in a sentence, for the rejects file
    column: str | None = None  # the path of the column that is to blame, where it is one


class Rejection(Exception):  # noqa: N818 - it is an outcome, not an error
    """Carries a rejection up from where it is found to where the record's mapping ends."""

    def __init__(self, code: str, message: str, column: str | None = None) -> None:
        super().__init__(message)
        self.outcome = Rejected(code, message, column)

    @classmethod
    def of(cls, outcome: Rejected) -> Rejection:
        """Carries this one."""
        return cls(outcome.code, outcome.message, outcome.column)

    def in_column(self, column: str | None) -> Rejection:
        """The same of a column, where it names none."""
        return Rejection(self.outcome.code, self.outcome.message, self.outcome.column or column)
