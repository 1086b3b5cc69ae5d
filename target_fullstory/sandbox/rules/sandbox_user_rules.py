"""What makes a user request acceptable, beyond its shape."""

from __future__ import annotations

from target_fullstory.sandbox.rules.refusals import invalid
from target_fullstory.sandbox.rules.sandbox_property_rules import check_properties
from target_fullstory.sandbox.rules.sandbox_request_shapes import UserRequest

MAX_LENGTHS = {"uid": 256, "display_name": 256, "email": 128}


def check_user(request: UserRequest) -> int:
    """Apply the rules, and remove oversized property values from the request.

    Returns:
        How many properties were removed.

    Raises:
        ApiError: The request is to be refused.
    """
    for field, limit in MAX_LENGTHS.items():
        if len(getattr(request, field) or "") > limit:
            raise invalid("value_too_long", f"{field} is longer than {limit} characters")
    return check_properties(request)
