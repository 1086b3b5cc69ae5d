# ruff: noqa: D101 (the shapes are named as Fullstory's documents name them)
"""The shapes of the requests: which fields there are, and their JSON types.

A request with a field that is not named here, or of another JSON type, is refused as a whole. A null is the
same as an absent field, and so is an empty string, as everywhere in Fullstory's protocol.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from target_fullstory.sandbox.rules.refusals import invalid

T = TypeVar("T")


class _Shape(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    pass


class Schema(_Shape):
    properties: dict[str, Any] | None = None  # dotted property name to type name


class UserRequest(_Shape):
    uid: str | None = None
    display_name: str | None = None
    email: str | None = None
    properties: dict[str, Any] | None = None
    schema: Schema | None = None


class BatchUserRequest(UserRequest):
    id: str | None = None  # the Fullstory id, which only an item of a batch may give in its body


class UserBatch(_Shape):
    requests: list[BatchUserRequest]


class UserIdentity(_Shape):
    uid: str | None = None
    id: str | None = None


class SessionIdentity(_Shape):
    id: str | None = None
    uid: str | None = None
    use_most_recent: bool | None = None


class BrowserContext(_Shape):
    url: str | None = None
    user_agent: str | None = None
    initial_referrer: str | None = None


class MobileContext(_Shape):
    app_id: str | None = None
    app_version: str | None = None
    app_name: str | None = None
    build_variant: str | None = None


class DeviceContext(_Shape):
    manufacturer: str | None = None
    model: str | None = None
    screen_width: int | None = None
    screen_height: int | None = None
    viewport_width: int | None = None
    viewport_height: int | None = None


class LocationContext(_Shape):
    country: str | None = None
    region: str | None = None
    city: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    ip_address: str | None = None


class Context(_Shape):
    browser: BrowserContext | None = None
    mobile: MobileContext | None = None
    device: DeviceContext | None = None
    location: LocationContext | None = None


class EventRequest(_Shape):  # a single event, and one item of a batch
    name: str | None = None
    timestamp: str | None = None
    user: UserIdentity | None = None
    session: SessionIdentity | None = None
    context: Context | None = None
    properties: dict[str, Any] | None = None
    schema: Schema | None = None


class SharedData(_Shape):
    context: Context | None = None


class EventBatch(_Shape):
    requests: list[EventRequest]
    shared: SharedData | None = None


class WebhookEventType(_Shape):
    event_name: str
    subcategory: str | None = None


class WebhookRequest(_Shape):
    url: str | None = None
    event_types: list[WebhookEventType] | None = None
    secret: str | None = None
    disabled: bool | None = None


def decode(body: bytes, shape: type[T]) -> T:
    """Read a request's JSON into one of the shapes above, or raise an ApiError."""
    try:
        return msgspec.json.decode(body, type=shape)
    except msgspec.ValidationError as error:
        message = str(error)
        codes = {"missing required field": "required_field", "unknown field": "unknown_field"}
        code = next((code for text, code in codes.items() if text in message), "invalid_type")
        raise invalid(code, message) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise invalid("invalid_json", f"The body is no valid JSON: {error}") from None
    except RecursionError:
        raise invalid("invalid_json", "The body is nested too deeply") from None
