"""What the API's answers mean for a record."""

from __future__ import annotations

from target_fullstory.api.client import Answer
from target_fullstory.errors import DeliveryError

CONCERNS_RECORDS = frozenset({400, 413, 422})
"""Statuses that one record or the size of a batch may have caused."""

UNKNOWN_USER = "user_not_found"
"""The API's code where a record names a user that is not there; any other 404 is a wrong address."""


def reject_code(answer: Answer) -> str:
    """The code of a record that was refused."""
    return "request_too_large" if answer.status == 413 else answer.code


def unexpected(call: str, answer: Answer) -> DeliveryError:
    """The error of an answer that concerns more than a record.

    Args:
        call: The call, without a record's values.
        answer: Its answer.
    """
    # Without the API's message, which may quote a record.
    return DeliveryError(
        f"Fullstory answered {call} with {answer.status} ({answer.code}). Check the setting api_url."
    )
