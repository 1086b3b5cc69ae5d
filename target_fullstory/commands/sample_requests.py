"""One sample request per kind, chosen so that it harms nobody and repeating it changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import msgspec

from target_fullstory.api.client import Client
from target_fullstory.api.roles import allows
from target_fullstory.errors import DeliveryError
from target_fullstory.sending.idempotency_keys import new_key

TEST_NAME = "target-fullstory-check"
"""The test user's uid, and the test event's name."""

Verdict = Literal["ok", "failed", "skipped"]
Sampled = tuple[str, Verdict, str]

_BODIES = {
    "users": {"uid": TEST_NAME, "display_name": "Test of target-fullstory"},
    "events": {"name": TEST_NAME, "user": {"uid": TEST_NAME}},
}
_NOT_SENT = {
    "webhook_endpoints": "not sent: an endpoint would be subscribed to your events",
    "request": "not sent: what a call does is not known here; `preview` shows the calls",
}


def send_samples(client: Client, kinds: list[str], role: str) -> Iterator[Sampled]:
    """Send a sample of each kind where one can be sent.

    An event belongs to the test user, who is created for it. A deletion, which comes last, deletes that user.
    A sample that fails, whatever the reason, keeps none of the others from being told.

    Yields:
        The kind, what became of its sample, and that in a sentence.
    """
    has_user = False
    if {"users", "events", "user_deletions"}.intersection(kinds):
        verdict, told = _send(client, "users", f"test user {TEST_NAME} created or updated")
        has_user = verdict == "ok"
        yield "users", verdict, told
    if "events" in kinds:
        # Also where the user was refused: what the key may do with events is a question of its own.
        yield "events", *_send(client, "events", f"one event {TEST_NAME} of the test user sent")
    for kind in kinds:
        if kind in _NOT_SENT:
            yield kind, "skipped", _NOT_SENT[kind]
    if "user_deletions" in kinds:
        if allows(role, "user_deletions") is False:
            yield "user_deletions", "skipped", "not sent: the role does not allow it"
        elif not has_user:
            yield "user_deletions", "skipped", "not sent: there is no test user to delete"
        else:
            done = f"test user {TEST_NAME} deleted, with its event"
            yield "user_deletions", *_call(client, "DELETE", "/v2/users", done, uid=TEST_NAME)


def _send(client: Client, kind: str, done: str) -> tuple[Verdict, str]:
    return _call(client, "POST", f"/v2/{kind}", done, msgspec.json.encode(_BODIES[kind]))


def _call(
    client: Client, method: str, path: str, done: str, body: bytes | None = None, **params: str
) -> tuple[Verdict, str]:
    key = new_key() if method == "POST" else None
    try:
        response = client.call(method, path, body, key=key, params=params or None)
    except DeliveryError as error:
        return "failed", str(error)
    if response.ok:
        return "ok", done
    return "failed", f"refused with {response.status} ({response.code}): {response.message}"
