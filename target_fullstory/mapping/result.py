"""What mapping makes of one record: a request, or the reason why there is none."""

from __future__ import annotations

import msgspec


class Mapped(msgspec.Struct, frozen=True, gc=False):
    """A record that became a request.

    Attributes:
        body: The request as JSON: one item of a batch, or the body of a single call.
        key: Identifies the user whose updates must keep their order (`uid:…` or `id:…`); None for
            events.
        timed: The event carries a timestamp of its own, so that its body identifies it.
        dropped: Names of the properties and optional fields left out because Fullstory could not
            take their value; those of nested properties have dots.
    """

    body: bytes
    key: str | None = None
    timed: bool = False
    dropped: tuple[str, ...] = ()


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
