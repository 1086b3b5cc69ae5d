"""Values of a webhook endpoint's fields: what cannot be read keeps the record from being sent.

Leaving such a value out could do harm: without `disabled` an update enables an endpoint.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from target_fullstory.mapping.outcome import Rejection
from target_fullstory.mapping.rules.property_values import text_of

ACTIONS: Final = ("create", "update", "delete")
"""What can be done to an endpoint."""


def action_of(value: Any) -> str:
    """What is to be done.

    Raises:
        Rejection: `invalid_action`.
    """
    action = (text_of(value) or "").strip().lower()
    if action not in ACTIONS:
        raise Rejection("invalid_action", f"the action is none of {', '.join(ACTIONS)}")
    return action


def disabled_of(value: Any) -> bool:
    """Whether the endpoint is to be disabled; `true` and `false` may be text.

    Raises:
        Rejection: `invalid_disabled`.
    """
    if isinstance(value, str):
        value = {"true": True, "false": False}.get(value.strip().lower())
    if not isinstance(value, bool):
        raise Rejection("invalid_disabled", "disabled is neither true nor false")
    return value


def secret_of(value: Any) -> str:
    """The key that signs what is sent to the endpoint.

    Raises:
        Rejection: `invalid_secret`; the message does not tell it.
    """
    text = text_of(value)
    if text is None:
        raise Rejection("invalid_secret", "the secret is no plain value")
    return text


def event_types_of(value: Any) -> list[dict[str, str]]:
    """The events to be notified of: a list, as such or as JSON, of names or of objects.

    Returns:
        `event_name` and `subcategory` of each; an empty list changes nothing.

    Raises:
        Rejection: `invalid_event_types`.
    """
    if isinstance(value, str):
        value = _list_in(value)
    if not isinstance(value, list):
        raise Rejection("invalid_event_types", "event_types is no list")
    return [_event_type(item) for item in value]


def _list_in(text: str) -> Any:
    if not text.lstrip().startswith("["):
        return [text] if text else []
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return None


def _event_type(item: Any) -> dict[str, str]:
    members = item if isinstance(item, dict) else {"event_name": item}
    names = {key: text_of(members.get(key)) for key in ("event_name", "subcategory")}
    if names["event_name"] is None or members.keys() - names.keys():
        message = "an event type is a name, or an object of event_name and subcategory"
        raise Rejection("invalid_event_types", message)
    return {key: name for key, name in names.items() if name is not None}
