"""Webhook endpoints: kept and answered, but nothing is ever delivered to them."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from target_fullstory.sandbox.operations.handler_types import Answer, Call, ok
from target_fullstory.sandbox.rules.refusals import invalid, not_found, required
from target_fullstory.sandbox.rules.sandbox_request_shapes import (
    WebhookEventType,
    WebhookRequest,
    decode,
)
from target_fullstory.sandbox.store.database import utc_now

if TYPE_CHECKING:
    from target_fullstory.sandbox.store.database import Database

# Name of an event type: its display name, and whether it needs a subcategory.
EVENT_TYPES = {
    "note.created": ("Note created", False),
    "segment.created": ("Segment created", False),
    "segment.trend.alert": ("Segment alert", True),
    "recording.event.custom": ("Custom event", True),
    "nativemobile.event.crash": ("Native mobile crash", False),
}
_COLUMNS = "id, url, event_types, secret, enabled, created, modified"


class WebhookCalls:
    """Create, update, delete, and the event types there are."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def event_types(self, call: Call) -> Answer:  # noqa: ARG002 (nothing to ask for)
        """`GET /webhooks/v1/event_types`."""
        definitions = [
            {"eventName": name, "displayName": shown, "hasSubcategories": subcategories}
            for name, (shown, subcategories) in EVENT_TYPES.items()
        ]
        return ok({"eventDefs": definitions})

    def create(self, call: Call) -> Answer:
        """`POST /webhooks/v1/endpoints`."""
        request = decode(call.body, WebhookRequest)
        if not request.url:
            raise required("url")
        if not request.event_types:
            raise required("event_types")
        _check(request)
        now = utc_now()
        webhook_id = uuid.uuid4().hex
        self._database.write(
            f"INSERT INTO webhooks ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
            (
                webhook_id,
                request.url,
                msgspec.json.encode(request.event_types),
                request.secret,
                not request.disabled,
                now,
                now,
            ),
        )
        return self._answer(webhook_id)

    def update(self, call: Call) -> Answer:
        """`POST /webhooks/v1/endpoints/{id}`: absent means unchanged, except `disabled`."""
        request = decode(call.body, WebhookRequest)
        _check(request)
        webhook_id = call.params["id"]
        with self._database.transaction():
            row = self._database.one("SELECT url FROM webhooks WHERE id = ?", (webhook_id,))
            if row is None:
                raise not_found()
            new_id = uuid.uuid4().hex if request.url and request.url != row[0] else webhook_id
            types = msgspec.json.encode(request.event_types) if request.event_types else None
            self._database.write(
                "UPDATE webhooks SET id = ?, url = COALESCE(?, url),"
                " event_types = COALESCE(?, event_types), secret = COALESCE(?, secret),"
                " enabled = ?, modified = ? WHERE id = ?",
                (
                    new_id,
                    request.url or None,
                    types,
                    request.secret or None,
                    not request.disabled,
                    utc_now(),
                    webhook_id,
                ),
            )
        return self._answer(new_id)

    def delete(self, call: Call) -> Answer:
        """`DELETE /webhooks/v1/endpoints/{id}`."""
        if not self._database.write("DELETE FROM webhooks WHERE id = ?", (call.params["id"],)):
            raise not_found()
        return ok({})

    def _answer(self, webhook_id: str) -> Answer:
        row = self._database.one(
            f"SELECT {_COLUMNS} FROM webhooks WHERE id = ?",  # noqa: S608 (a constant)
            (webhook_id,),
        )
        if row is None:
            raise not_found()
        _, url, types, _, enabled, created, modified = row
        return ok(
            {
                "id": webhook_id,
                "created": created,
                "modified": modified,
                "enabled": bool(enabled),
                "url": url,
                "eventTypes": [
                    _shaped(kind)
                    for kind in msgspec.json.decode(types, type=list[WebhookEventType])
                ],
            }
        )


def _check(request: WebhookRequest) -> None:
    if request.url:
        parts = urlsplit(request.url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise invalid("invalid_url", "url must be an absolute http or https URL")
    for kind in request.event_types or ():
        known = EVENT_TYPES.get(kind.event_name)
        if known is None:
            raise invalid("invalid_event_type", f"There is no event type {kind.event_name!r}")
        if known[1] and not kind.subcategory:
            raise required(f"subcategory of {kind.event_name}")


def _shaped(kind: WebhookEventType) -> dict[str, Any]:
    return {"eventName": kind.event_name, "subcategory": kind.subcategory or ""}
