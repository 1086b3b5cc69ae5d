"""What mapping makes of one record: a request, or the reason why there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from target_fullstory.kinds import Kind


class Mapped(msgspec.Struct, frozen=True, gc=False):
    """A record that became a request.

    Attributes:
        body: The request as JSON: one item of a batch, or the body of a single call. For the kinds
            that Fullstory takes call by call, a whole `Call`.
        key: The `uid`, or else the `id`, of the user whose updates must keep their order; None for
            what is not about one user's record.
        timed: The event carries a timestamp of its own, so that its body identifies it.
        dropped: Names of the properties and optional fields left out because Fullstory could not
            take their value; those of nested properties have dots.
        kind: What the record becomes where that is not its stream's kind: `user_deletions` in a
            stream of users; None elsewhere.
    """

    body: bytes
    key: str | None = None
    timed: bool = False
    dropped: tuple[str, ...] = ()
    kind: Kind | None = None


class Rejected(msgspec.Struct, frozen=True, gc=False):
    """A record that cannot become a request.

    Attributes:
        code: A stable code, such as `missing_uid`.
        message: The reason in a sentence, for the rejects file.
    """

    code: str
    message: str


class Rejection(Exception):  # noqa: N818 - it is an outcome, not an error
    """Carries a rejection up from where it is found to where the record's mapping ends."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
