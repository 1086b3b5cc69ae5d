"""What makes one user request acceptable, beyond its shape."""

from __future__ import annotations

from target_fullstory.sandbox.rules.refusals import invalid
from target_fullstory.sandbox.rules.sandbox_property_rules import check_properties
from target_fullstory.sandbox.rules.sandbox_request_shapes import UserRequest

MAX_LENGTHS = {"uid": 256, "display_name": 256, "email": 128}


def check_user(request: UserRequest) -> int:
    """Applies the rules, and takes oversized property values out of the request.

    Args:
        request: The request; changed in place.

    Returns:
        How many properties were left out for their size.

    Raises:
        ApiError: The request is to be refused.
    """
    uid, display_name, email = request.uid, request.display_name, request.email
    if uid and len(uid) > MAX_LENGTHS["uid"]:
        raise _too_long("uid")
    if display_name and len(display_name) > MAX_LENGTHS["display_name"]:
        raise _too_long("display_name")
    if email and len(email) > MAX_LENGTHS["email"]:
        raise _too_long("email")
    declared = request.schema.properties if request.schema is not None else None
    if request.properties is None and not declared:
        return 0
    request.properties, dropped = check_properties(request.properties or {}, declared)
    return dropped


def _too_long(field: str) -> Exception:
    return invalid("value_too_long", f"{field} is longer than {MAX_LENGTHS[field]} characters")
