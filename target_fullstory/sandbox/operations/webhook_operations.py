"""The calls on webhook endpoints, which are stored; nothing is ever delivered to them."""

from __future__ import annotations

import uuid
from urllib.parse import urlsplit

import msgspec

from target_fullstory.sandbox.operations.calls_and_responses import ApiResponse, Call, ok
from target_fullstory.sandbox.rules.refusals import invalid, not_found, required
from target_fullstory.sandbox.rules.sandbox_request_shapes import WebhookEventType, WebhookRequest, decode
from target_fullstory.sandbox.store.database import Database, utc_now

# Event types by name: display name, and whether a subcategory is needed.
EVENT_TYPES = {
    "note.created": ("Note created", False),
    "segment.created": ("Segment created", False),
    "segment.trend.alert": ("Segment alert", True),
    "recording.event.custom": ("Custom event", True),
    "nativemobile.event.crash": ("Native mobile crash", False),
}


class WebhookOperations:
    """Create, update and delete endpoints; list the event types."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def event_types(self, _: Call) -> ApiResponse:
        """`GET /webhooks/v1/event_types`."""
        definitions = [
            {"eventName": name, "displayName": display_name, "hasSubcategories": subcategories}
            for name, (display_name, subcategories) in EVENT_TYPES.items()
        ]
        return ok({"eventDefs": definitions})

    def create(self, call: Call) -> ApiResponse:
        """`POST /webhooks/v1/endpoints`."""
        request = decode(call.body, WebhookRequest)
        if not request.url:
            raise required("url")
        if not request.event_types:
            raise required("event_types")
        _check(request)
        webhook_id = uuid.uuid4().hex
        types = msgspec.json.encode(request.event_types)
        enabled, now = not request.disabled, utc_now()
        self._database.write(
            "INSERT INTO webhooks (id, url, event_types, secret, enabled, created, modified)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (webhook_id, request.url, types, request.secret, enabled, now, now),
        )
        return self._endpoint(webhook_id)

    def update(self, call: Call) -> ApiResponse:
        """`POST /webhooks/v1/endpoints/{id}`: absent means unchanged, except `disabled`."""
        request = decode(call.body, WebhookRequest)
        _check(request)
        webhook_id = call.params["id"]
        with self._database.transaction():
            row = self._database.one("SELECT url FROM webhooks WHERE id = ?", (webhook_id,))
            if row is None:
                raise not_found()
            url, secret = request.url or None, request.secret or None
            new_id = uuid.uuid4().hex if url and url != row[0] else webhook_id
            types = msgspec.json.encode(request.event_types) if request.event_types else None
            self._database.write(
                "UPDATE webhooks SET id = ?, url = COALESCE(?, url),"
                " event_types = COALESCE(?, event_types), secret = COALESCE(?, secret),"
                " enabled = ?, modified = ? WHERE id = ?",
                (new_id, url, types, secret, not request.disabled, utc_now(), webhook_id),
            )
        return self._endpoint(new_id)

    def delete(self, call: Call) -> ApiResponse:
        """`DELETE /webhooks/v1/endpoints/{id}`."""
        if not self._database.write("DELETE FROM webhooks WHERE id = ?", (call.params["id"],)):
            raise not_found()
        return ok({})

    def _endpoint(self, webhook_id: str) -> ApiResponse:
        row = self._database.one(
            "SELECT url, event_types, enabled, created, modified FROM webhooks WHERE id = ?", (webhook_id,)
        )
        if row is None:
            raise not_found()
        url, types, enabled, created, modified = row
        event_types = [
            {"eventName": one.event_name, "subcategory": one.subcategory or ""}
            for one in msgspec.json.decode(types, type=list[WebhookEventType])
        ]
        times = {"created": created, "modified": modified}
        return ok(
            {"id": webhook_id, **times, "enabled": bool(enabled), "url": url, "eventTypes": event_types}
        )


def _check(request: WebhookRequest) -> None:
    if request.url:
        parts = urlsplit(request.url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise invalid("invalid_url", "url must be an absolute http or https URL")
    for one in request.event_types or ():
        known = EVENT_TYPES.get(one.event_name)
        if known is None:
            raise invalid("invalid_event_type", f"There is no event type {one.event_name!r}")
        if known[1] and not one.subcategory:
            raise required(f"subcategory of {one.event_name}")
