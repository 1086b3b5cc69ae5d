"""The setting `response_webhook`: where the API's responses are delivered, and how it authenticates."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args, get_origin
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from target_fullstory.errors import ConfigurationError, did_you_mean
from target_fullstory.settings.addresses import check_address
from target_fullstory.settings.masking import REDACTED

SETTING = "response_webhook"

SECRETS = frozenset({"password", "token", "value", "secret", "client_secret"})
"""The members of its `auth` that are secret."""

_Text = Annotated[str, Meta(min_length=1)]


class _Auth(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", forbid_unknown_fields=True):
    """What the kinds of authentication have in common: `type` distinguishes them."""


class BasicAuth(_Auth, frozen=True, tag="basic"):
    """User name and password."""

    username: _Text
    password: _Text


class BearerAuth(_Auth, frozen=True, tag="bearer"):
    """A token in the header `Authorization`."""

    token: _Text


class ApiKeyAuth(_Auth, frozen=True, tag="api_key"):
    """A value in a header, or in the query, of a given name."""

    name: _Text
    value: _Text
    place: Literal["header", "query"] = msgspec.field(default="header", name="in")


class HmacAuth(_Auth, frozen=True, tag="hmac"):
    """HMAC-SHA256 over the bytes of the body, in hexadecimal, in the header named."""

    header: _Text
    secret: _Text


class OAuth2Auth(_Auth, frozen=True, tag="oauth2"):
    """OAuth 2, client credentials grant."""

    token_url: _Text
    client_id: _Text
    client_secret: _Text
    scopes: tuple[str, ...] = ()


Auth = BasicAuth | BearerAuth | ApiKeyAuth | HmacAuth | OAuth2Auth


class WebhookSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The setting's members."""

    url: _Text
    method: Literal["POST", "PUT", "PATCH"] = "POST"
    auth: Auth | None = None
    headers: dict[str, str] = {}
    include: Literal["all", "errors"] = "all"


_KINDS: dict[str, type[_Auth]] = {str(kind.__struct_config__.tag): kind for kind in get_args(Auth)}
_PASTED = frozenset({"token", "value"})
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_OURS = frozenset({"connection", "content-length", "host", "transfer-encoding"})


def read_webhook(value: Any) -> WebhookSettings | None:
    """Read the setting; None and an empty object mean no webhook, and nulls in it count as absent."""
    if value is None or value == {}:
        return None
    given = _members(SETTING, value, "url")
    _check_members(SETTING, given, WebhookSettings)
    if "auth" in given:
        given["auth"] = _auth_members(given["auth"])
    try:
        webhook = msgspec.convert(given, WebhookSettings)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `$")
        raise ConfigurationError(
            f"Setting {SETTING}{path.rstrip('`')} is not valid: {reason}. A text that looks like a number "
            "needs quotes."
        ) from None
    check_address(
        f"{SETTING}.url",
        webhook.url,
        wanted="an https address such as https://hooks.example.com/fullstory, without credentials in it",
        exposed="responses and credentials",
    )
    for name, text in webhook.headers.items():
        _check_header(f"{SETTING}.headers.{name}", name)
        check_header_value(f"{SETTING}.headers.{name}", text)
    _check_auth(webhook.auth)
    return webhook


def redacted_webhook(webhook: WebhookSettings) -> dict[str, Any]:
    """The setting as it may be written to a file: no secret, and of the address only the host."""
    shown: dict[str, Any] = msgspec.to_builtins(webhook)
    shown["url"] = _redacted_url(webhook.url)
    shown["headers"] = dict.fromkeys(webhook.headers, REDACTED)
    auth = shown["auth"] or {}
    for name in SECRETS & set(auth):
        auth[name] = REDACTED
    if "token_url" in auth:
        auth["token_url"] = _redacted_url(auth["token_url"])
    return shown


def _redacted_url(address: str) -> str:
    """An address's host: its path or query is often all that keeps strangers from calling it."""
    url = urlsplit(address)
    private = url.path.strip("/") or url.query or url.fragment
    return f"{url.scheme}://{url.netloc}" + (f"/{REDACTED}" if private else "")


def _members(where: str, value: Any, needed: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"Setting {where} is to be an object with a `{needed}`.")
    return {str(name): member for name, member in value.items() if member is not None}


def _auth_members(value: Any) -> dict[str, Any]:
    where = f"{SETTING}.auth"
    auth = _members(where, value, "type")
    kind = auth.pop("type", None)
    if not isinstance(kind, str) or kind not in _KINDS:
        hint = did_you_mean(str(kind or ""), _KINDS)
        raise ConfigurationError(f"Setting {where}.type is missing or unknown{hint}")
    for name in _PASTED & set(auth):
        if isinstance(auth[name], str):
            # What is copied often brings a line end along.
            auth[name] = auth[name].strip()
    if isinstance(auth.get("scopes"), str):
        auth["scopes"] = auth["scopes"].split()
    _check_members(where, auth, _KINDS[kind])
    return {"type": kind, **auth}


def _check_members(where: str, members: Mapping[str, Any], struct: type[msgspec.Struct]) -> None:
    fields = {field.encode_name: field for field in msgspec.structs.fields(struct)}
    for key in members:
        if key not in fields:
            raise ConfigurationError(f"Setting {where}.{key} is not known{did_you_mean(key, fields)}")
    for name, field in fields.items():
        if field.required and members.get(name, "") == "":
            raise ConfigurationError(
                f"Setting {where}.{name} is missing. Set it; where it names an environment variable, set "
                "that one."
            )
        choices = get_args(field.type) if get_origin(field.type) is Literal else ()
        if choices and name in members and members[name] not in choices:
            hint = did_you_mean(str(members[name]), choices)
            raise ConfigurationError(f"Setting {where}.{name} is not valid{hint}")


def _check_auth(auth: Auth | None) -> None:
    where = f"{SETTING}.auth"
    if isinstance(auth, BasicAuth) and ":" in auth.username:
        raise ConfigurationError(
            f"Setting {where}.username has a colon, which Basic authentication cannot carry."
        )
    if isinstance(auth, BearerAuth):
        check_header_value(f"{where}.token", auth.token)
    if isinstance(auth, ApiKeyAuth) and auth.place == "header":
        _check_header(f"{where}.name", auth.name)
        check_header_value(f"{where}.value", auth.value)
    if isinstance(auth, HmacAuth):
        _check_header(f"{where}.header", auth.header)
    if isinstance(auth, OAuth2Auth):
        check_address(
            f"{where}.token_url",
            auth.token_url,
            wanted="an https address such as https://login.example.com/token, without credentials in it",
            exposed="the client's secret",
        )


def _check_header(where: str, name: str) -> None:
    if not _HEADER_NAME.fullmatch(name):
        raise ConfigurationError(f"Setting {where} has a name that no HTTP header can have.")
    if name.lower() in _OURS:
        raise ConfigurationError(f"Setting {where} names a header that the target itself sets.")


def check_header_value(setting: str, value: str) -> None:
    """Refuse a setting's value that no HTTP header can carry; the error does not show it."""
    if not (value.isascii() and value.isprintable()):
        raise ConfigurationError(
            f"Setting {setting} has a character that no HTTP header can carry. Copy it again."
        )
