"""Takes mapped records as the pipeline does, and keeps the first few instead of sending them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import msgspec

from target_fullstory.commands.preview_calls import GatheredCalls
from target_fullstory.kinds import Kind
from target_fullstory.mapping import Call, Chunk, Mapped, Rejected, encode_call
from target_fullstory.settings.model import Settings

_SHOWN_REJECTS = 10
_OVER_QUOTA = Rejected("event_quota", "the run would have sent max_events events")
_encode = msgspec.json.Encoder().encode


@dataclass
class StreamPreview:
    """What became of one stream.

    Attributes:
        kind: What its records become; None for a stream that is ignored.
        received: Records read.
        sent: Records that would be sent, by what they become: a user may become a deletion.
        merged: How many of them update a user who is in the same batch already, at the most.
        made: Requests that come of them; for users and events one each, as if sent one by one.
        ignored: Records left out as configured.
        requests: The first requests, each with its kind.
        rejects: The first rejected records, each with its reason.
        codes: Rejected records by code.
        dropped: Property values left out, by name.
    """

    kind: Kind | None
    received: int = 0
    sent: Counter[Kind] = field(default_factory=Counter)
    merged: int = 0
    made: int = 0
    ignored: int = 0
    requests: list[tuple[Kind, bytes]] = field(default_factory=list)
    rejects: list[tuple[Rejected, Any]] = field(default_factory=list)
    codes: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)

    @property
    def mapped(self) -> int:
        """Records that would be sent."""
        return self.sent.total()


class PreviewOutlet:
    """Counts, and keeps the first requests and rejects of each stream, so many that memory is bounded."""

    interrupted = False

    def __init__(self, shown: int, settings: Settings) -> None:
        """Keep nothing yet.

        Args:
            shown: Requests to keep per stream.
            settings: The quota of events, and where a batch ends.
        """
        self.streams: dict[str, StreamPreview] = {}
        self._shown = shown
        self._settings = settings
        self._events_left = settings.max_events
        self._calls: dict[str, GatheredCalls] = {}
        self._users: dict[str, _BatchUsers] = {}

    @property
    def any_rejected(self) -> bool:
        """Whether a load would reject a record."""
        return any(stream.codes for stream in self.streams.values())

    @property
    def takes_chunks(self) -> bool:
        """As in a load: a quota of events has to look at each."""
        return self._events_left is None

    def open_stream(self, stream: str, kind: Kind | None) -> None:
        """Begin a stream; None for one that is ignored."""
        self.streams.setdefault(stream, StreamPreview(kind))

    def know_schema(self, stream: str, message: dict[str, Any]) -> None:
        """Nothing: a preview keeps no SCHEMA."""

    def ignore(self, stream: str, count: int) -> None:
        """Count records of an ignored stream."""
        preview = self.streams[stream]
        preview.received += count
        preview.ignored += count

    def add(self, stream: str, kind: Kind, mapped: Mapped, record: Any) -> None:
        """Take one mapped record."""
        if kind == "events" and self._events_left is not None:
            if self._events_left <= 0:
                self.reject(stream, kind, _OVER_QUOTA, record)
                return
            self._events_left -= 1
        kind = mapped.kind or kind
        preview = self.streams[stream]
        preview.received += 1
        preview.sent[kind] += 1
        if kind == "request":
            self._keep_calls(stream, self._calls_of(stream).add(mapped.body))
            return
        if kind == "users" and mapped.key is not None:
            preview.merged += self._users_of(stream).add([mapped.key])
        elif kind == "user_deletions":
            # A load sends the user's updates before it.
            self._users.clear()
        self._keep(stream, kind, [mapped.body], 1)

    def add_chunk(self, stream: str, kind: Kind, chunk: Chunk) -> None:
        """Take the requests of records that follow each other."""
        preview, count = self.streams[stream], len(chunk.requests)
        missing = max(0, self._shown - len(preview.requests))
        first = [_encode(request) for request in chunk.requests[:missing]]
        preview.received += count
        preview.sent[kind] += count
        if chunk.keys:
            preview.merged += self._users_of(stream).add(chunk.keys)
        self._keep(stream, kind, first, count)

    def finish(self) -> None:
        """Keep what a load would send at the end of the input."""
        for stream, calls in self._calls.items():
            self._keep_calls(stream, calls.close())

    def reject(
        self,
        stream: str,
        kind: Kind,  # noqa: ARG002
        rejected: Rejected,
        record: Any,
        request: bytes | None = None,  # noqa: ARG002
    ) -> None:
        """Take a record that cannot be mapped."""
        preview = self.streams[stream]
        preview.received += 1
        preview.codes[rejected.code] += 1
        if len(preview.rejects) < _SHOWN_REJECTS:
            preview.rejects.append((rejected, record))

    def tell_dropped(self, stream: str, names: tuple[str, ...]) -> None:
        """Count property values that mapping left out."""
        self.streams[stream].dropped.update(names)

    def state(self, value: bytes) -> None:  # noqa: ARG002
        """A preview writes no STATE, but some calls are sent at one."""
        for stream, calls in self._calls.items():
            self._keep_calls(stream, calls.mark())

    def tick(self) -> None:
        """Nothing: there is no timed work."""

    def _calls_of(self, stream: str) -> GatheredCalls:
        if stream not in self._calls:
            limits = self._settings.batch_size_rows, self._settings.max_batch_bytes
            self._calls[stream] = GatheredCalls(*limits)
        return self._calls[stream]

    def _users_of(self, stream: str) -> _BatchUsers:
        if stream not in self._users:
            self._users[stream] = _BatchUsers(self._settings.batch_size_rows)
        return self._users[stream]

    def _keep_calls(self, stream: str, calls: list[Call]) -> None:
        missing = max(0, self._shown - len(self.streams[stream].requests))
        first = [encode_call(call) for call in calls[:missing]]
        self._keep(stream, "request", first, len(calls))

    def _keep(self, stream: str, kind: Kind, first: list[bytes], count: int) -> None:
        preview = self.streams[stream]
        preview.made += count
        shown = first[: self._shown - len(preview.requests)]
        preview.requests += [(kind, body) for body in shown]


class _BatchUsers:
    """The users of one batch, in which a load makes one update of several."""

    def __init__(self, max_rows: int) -> None:
        self._max_rows = max_rows
        self._rows = 0
        self._keys: set[str] = set()

    def add(self, keys: list[str]) -> int:
        """Take updates in their order; returns how many are of users known already."""
        merged = 0
        for key in keys:
            merged += key in self._keys
            self._keys.add(key)
            self._rows += 1
            if self._rows >= self._max_rows:
                self._rows = 0
                self._keys.clear()
        return merged
