"""The settings `max_vanished_percent` and `max_changed_percent`, and the plans that go beyond them.

A query that lost half of its rows, or a column that lost its meaning, looks like thousands of users who
vanished or changed. Beyond a limit the run stops, and tells how many; `--approve` with the id that `plan`
prints of the same input lets it do what that plan showed.

An id has a part for each stream and limit: the stream, a digest of the set of users, whatever their order,
and for changed users also how many there are. So a load can tell the vanished users' part at any time, and
`plan` prints the same before and after the others are sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

import xxhash

from target_fullstory.errors import BeyondLimitError, ConfigurationError
from target_fullstory.settings.model import Settings

LEAST_USERS: Final = 20
"""A stream with fewer known users is never stopped."""

Change: TypeAlias = Literal["vanished", "changed"]

_STREAM_DIGITS, _SET_DIGITS = 6, 12
_PART = re.compile(rf"([vc])([0-9a-f]{{{_STREAM_DIGITS}}})([0-9a-f]{{{_SET_DIGITS}}})(?:\.(\d+))?", re.ASCII)


class UserSet:
    """How many users, and a digest of them, whatever order they come in."""

    def __init__(self) -> None:
        self.count = 0
        self._sum = 0

    def add(self, user: bytes, *, again: bool = False) -> None:
        """Enter a user by the fingerprints that tell it from others; `again` with others of its own."""
        self.count += not again
        self._sum += xxhash.xxh3_64_intdigest(user)

    @property
    def digest(self) -> str:
        """The digest, in a few hexadecimal digits."""
        told = f"{self.count} {self._sum % 2**64}"
        return xxhash.xxh3_64_hexdigest(told.encode())[:_SET_DIGITS]


@dataclass(frozen=True)
class Approval:
    """What a plan id says of a stream and a limit."""

    digest: str
    count: int = 0  # of changed users

    def covers(self, users: UserSet) -> bool:
        """Whether these are the users of the plan."""
        return self.digest == users.digest


def read_plan_id(text: str) -> dict[tuple[Change, str], Approval]:
    """The approvals in a plan id, by the limit and the stream's digits.

    Raises:
        ConfigurationError: It is none.
    """
    approved: dict[tuple[Change, str], Approval] = {}
    for part in text.split("-"):
        found = _PART.fullmatch(part)
        if found is None or (found[1] == "c") != bool(found[4]):
            raise ConfigurationError(
                f"--approve {text!r} is not a plan id. Take it from what `target-fullstory plan` prints of "
                "the same input."
            )
        change: Change = "vanished" if found[1] == "v" else "changed"
        approved[change, found[2]] = Approval(found[3], int(found[4] or 0))
    return approved


@dataclass
class StreamChanges:
    """The changed or vanished users of a stream, held against the limit."""

    stream: str
    change: Change
    percent: float | None
    known: int  # users at the start
    approval: Approval | None = None
    users: UserSet = field(default_factory=UserSet)

    @property
    def is_beyond(self) -> bool:
        """Whether these are more users than the limit allows."""
        return (
            self.percent is not None
            and self.known >= LEAST_USERS
            and self.users.count * 100 > self.percent * self.known
        )

    @property
    def part(self) -> str:
        """The part of a plan id that approves exactly these."""
        count = f".{self.users.count}" if self.change == "changed" else ""
        return f"{self.change[0]}{_digits(self.stream)}{self.users.digest}{count}"

    @property
    def told(self) -> str:
        """How many they are, and the limit, for a message."""
        return (
            f"Stream {self.stream!r}: {self.users.count} of {self.known} known users {self.change}, more "
            f"than max_{self.change}_percent ({self.percent:g}) allows"
        )

    def check_so_far(self) -> None:
        """Hold the users who changed by now against the limit, or against how many a plan has.

        Raises:
            BeyondLimitError: They are too many.
        """
        if not self.is_beyond:
            return
        if self.approval is None:
            raise BeyondLimitError(
                self.stream,
                f"{self.told}. No more of the stream is sent, and no STATE behind it is written. If that "
                "many are to change, load the same input with --approve and the plan id that "
                "`target-fullstory plan` prints of it.",
            )
        if self.users.count > self.approval.count:
            raise BeyondLimitError(
                self.stream,
                f"{self.told}, and more than the {self.approval.count} of the plan that --approve names: the "
                f"input or what is known has changed since. No more of the stream is sent. {_PLAN_AGAIN}",
            )

    def check_all(self) -> None:
        """Hold all users who changed against the plan, once the input is read.

        Raises:
            BeyondLimitError: They are others than those of the plan, or their requests are.
        """
        self.check_so_far()
        if self.is_beyond and self.approval is not None and not self.approval.covers(self.users):
            raise BeyondLimitError(
                self.stream,
                f"{self.told}, and these are not those of the plan that --approve names: the input or what "
                f"is known has changed since. What is left of the stream is not sent. {_PLAN_AGAIN}",
            )


_PLAN_AGAIN = "Look at `target-fullstory plan` of the same input again."


class ChangeLimits:
    """Holds what the streams' users become against the limits. Used by the reading thread alone."""

    def __init__(self, settings: Settings, approved: str | None = None, *, stops: bool = True) -> None:
        """Take the plan id that was approved; unless it `stops`, what is beyond a limit is only noted."""
        self._settings = settings
        self._approved = read_plan_id(approved) if approved is not None else {}
        self._stops = stops
        self._changed: dict[str, StreamChanges] = {}
        # Of the mirrors that were read completely.
        self.vanished: dict[str, StreamChanges] = {}

    def changes_of(self, stream: str, known: int) -> StreamChanges | None:
        """Where a stream's changed users are entered; it knows so many at the start. None without a limit."""
        percent = self._settings.max_changed_percent
        if percent is None or known < LEAST_USERS:
            return None
        return self._changed.setdefault(stream, self._changes(stream, "changed", percent, known))

    def check_changed(self, *, all_read: bool = False) -> None:
        """Look at the changed users of all streams; `all_read` at the end of the input.

        Raises:
            BeyondLimitError: Those of a stream are too many, or at the end not those of the approved plan.
        """
        if not self._stops:
            return
        for changes in self._changed.values():
            if all_read:
                changes.check_all()
            else:
                changes.check_so_far()

    def check_vanished(self, stream: str, known: int, vanished_keys: Iterable[bytes]) -> None:
        """Look at a stream's vanished users, before the first is marked or deleted.

        Raises:
            BeyondLimitError: They are too many, or not those of the approved plan.
        """
        changes = self._changes(stream, "vanished", self._settings.max_vanished_percent, known)
        for key in vanished_keys:
            changes.users.add(key)
        self.vanished[stream] = changes
        approval = changes.approval
        if not self._stops or not changes.users.count or (approval and approval.covers(changes.users)):
            return
        if approval is not None:
            raise BeyondLimitError(
                stream,
                f"Stream {stream!r}: {changes.users.count} of {known} known users vanished, and these are "
                "not those of the plan that --approve names: the input or what is known has changed since. "
                f"None of them is marked or deleted; all else is sent. {_PLAN_AGAIN}",
            )
        if changes.is_beyond:
            beyond = [one for one in self.beyond if one.change == "vanished"]
            told = ". ".join(one.told for one in beyond)
            raise BeyondLimitError(
                stream,
                f"{told}. None of them is marked or deleted; all else is sent. If they are gone indeed, load "
                f"the same input with --approve {_id_of(beyond)}, the plan id that `target-fullstory plan` "
                "prints of it.",
            )

    @property
    def beyond(self) -> list[StreamChanges]:
        """What is beyond its limit."""
        found = [*self._changed.values(), *self.vanished.values()]
        return [one for one in sorted(found, key=lambda one: one.stream) if one.is_beyond]

    @property
    def plan_id(self) -> str | None:
        """The id that approves what is beyond its limit; None where nothing is."""
        return _id_of(self.beyond) or None

    def _changes(self, stream: str, change: Change, percent: float | None, known: int) -> StreamChanges:
        approval = self._approved.get((change, _digits(stream)))
        return StreamChanges(stream, change, percent, known, approval)


def _id_of(beyond: list[StreamChanges]) -> str:
    return "-".join(one.part for one in beyond)


def _digits(stream: str) -> str:
    return xxhash.xxh3_64_hexdigest(stream.encode("utf-8", "backslashreplace"))[:_STREAM_DIGITS]
