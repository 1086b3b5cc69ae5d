"""A user or an event as a single request: its address and body."""

from __future__ import annotations

from urllib.parse import quote

import msgspec

from target_fullstory.batching.encoded_requests import identity
from target_fullstory.kinds import KINDS, Kind


def single_request(kind: Kind, request: bytes) -> tuple[str, bytes]:
    """The path and the body of a POST; a user that is named by `id` has it in the path instead."""
    path = KINDS[kind].endpoint
    user_id = identity(request)[1] if KINDS[kind].changes_users else None
    if user_id is None:
        return path, request
    fields = msgspec.json.decode(request, type=dict[str, msgspec.Raw])
    del fields["id"]
    return f"{path}/{quote(user_id, safe='')}", msgspec.json.encode(fields)
