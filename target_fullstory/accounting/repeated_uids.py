"""Finds streams in which one user has so many records that the `uid` may be a placeholder, such as `0`."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec

from target_fullstory.kinds import Kind

# By kind: from how many records on, and from which share on. A user has one record in most streams of users,
# while an active one may have many events.
_LIMITS: dict[str, tuple[int, float]] = {"users": (100, 0.1), "events": (1000, 0.25)}
# So many records of a stream are counted one by one, and so many of each further chunk.
_COUNTED_ALL = 10_000
_SAMPLE = 16
# So many of the latest run reports are read.
_READ_REPORTS = 50
# So many different users are counted at a time, and so many are kept then.
_MOST_USERS = 2_000
_KEPT_USERS = 250


class RepeatedUid(msgspec.Struct, frozen=True):
    """How many records of a stream there are, and the share of them that one and the same user has."""

    records: int
    share: float

    @property
    def warning(self) -> str:
        """What this may mean, and what to do."""
        return (
            f"about {self.share:.0%} of its {self.records:,} records have one and the same uid. It may be a "
            "placeholder, such as 0 or unknown, which makes one user of many people. Correct the source of "
            "the uid, or leave these records out with a filter in stream_maps."
        )


class RepeatedUids:
    """Counts the records of the users that come most often; used by the reading thread."""

    def __init__(self) -> None:
        self._streams: dict[str, _Stream] = {}

    def add(self, stream: str, kind: Kind, requests: list[Any], keys: list[str]) -> None:
        """Take a chunk's requests and keys."""
        if kind not in _LIMITS:
            return
        counted = self._streams.get(stream)
        if counted is None:
            counted = self._streams[stream] = _Stream(kind)
        counted.add(requests, keys)

    def found(self) -> dict[str, RepeatedUid]:
        """The streams with such a user. The users themselves are told nowhere."""
        found = {}
        for name, stream in self._streams.items():
            least, share = _LIMITS[stream.kind]
            if stream.records >= least and stream.largest_share > share:
                found[name] = RepeatedUid(stream.records, round(stream.largest_share, 3))
        return found


def found_before(output_dir: str) -> dict[str, RepeatedUid]:
    """What the run reports tell, of each stream the latest with enough of its records."""
    found: dict[str, RepeatedUid | None] = {}
    # By time: the names of two runs in one second are in no order.
    latest = sorted(Path(output_dir).glob("run-*.json"), key=os.path.getmtime, reverse=True)
    for path in latest[:_READ_REPORTS]:
        try:
            report = msgspec.json.decode(path.read_bytes(), type=_Report)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            continue
        for stream, counts in report.streams.items():
            if counts.received >= _LIMITS.get(counts.kind, (0, 0))[0]:
                found.setdefault(stream, report.repeated_uids.get(stream))
    return {stream: uid for stream, uid in found.items() if uid is not None}


class _Counts(msgspec.Struct):
    kind: str
    received: int


class _Report(msgspec.Struct):
    """What is read of a run report."""

    streams: dict[str, _Counts]
    repeated_uids: dict[str, RepeatedUid] = {}


class _Stream:
    """Counts so that a user's number is too small by a 250th of all records at most (Misra and Gries)."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.records = 0
        self._counts: Counter[str] = Counter()

    @property
    def largest_share(self) -> float:
        """The share of the records that the user with the most has."""
        return min(1.0, max(self._counts.values(), default=0) / max(1, self.records))

    def add(self, requests: list[Any], keys: list[str]) -> None:
        """Count the users of these requests, or of some of them."""
        step = 1 if self.records < _COUNTED_ALL else max(1, len(requests) // _SAMPLE)
        self.records += len(requests)
        if self.kind == "users":
            sample = keys[::step]
        else:
            # A request that `replay` sends as it is has no such member.
            users = (getattr(request, "user", None) for request in requests[::step])
            sample = [user.uid or user.id for user in users if user is not None]
        if step == 1:
            self._counts.update(sample)
        else:
            for user, count in Counter(sample).items():
                self._counts[user] += count * step
        if len(self._counts) > _MOST_USERS:
            kept = self._counts.most_common(_KEPT_USERS + 1)
            (_, least) = kept.pop()
            self._counts = Counter({user: count - least for user, count in kept if count > least})
