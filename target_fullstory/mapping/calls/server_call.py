"""Calls: what Fullstory takes one by one, each with a method and a path of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final, Protocol

import msgspec

from target_fullstory.kinds import Kind
from target_fullstory.mapping.calls.call_paths import trouble_with
from target_fullstory.mapping.outcome import MadeRequest, Rejected, Rejection
from target_fullstory.mapping.plan.sources import MISSING, Source
from target_fullstory.mapping.rules.path_values import METHODS, check_id
from target_fullstory.mapping.spec import MappingSpec

MASK: Final = "****"
"""Stands where a secret was, in all that is shown or written to a file."""


def masked_secret() -> Rejection:
    """Why an endpoint of a rejects file is rejected."""
    problem = "the secret was masked in a rejects file: load the record from its source"
    return Rejection("masked_secret", problem)


class Sharing(msgspec.Struct, frozen=True, gc=False):
    """How calls of the same method and path become one."""

    key: str  # the key of the list of their bodies in the body of the one call
    size: int  # bodies in one call at the most
    # What calls must have in common to become one; None where they have to follow each other instead.
    group: str | None = None


class Call(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    """One call of the Server API."""

    method: str  # the HTTP method
    path: str  # the path on the API's host with its query, URL-encoded
    body: msgspec.Raw = msgspec.Raw()  # the body, as JSON; empty for none
    uid: str | None = None  # the application's id of the user it deletes
    id: str | None = None  # the id of the user it deletes, or of the webhook endpoint it changes
    action: str | None = None  # what it does to a webhook endpoint
    sharing: Sharing | None = None  # how it may become one with others; None where it goes alone

    @property
    def content(self) -> bytes | None:
        """The body to send, None for none."""
        return bytes(self.body) or None

    @property
    def key(self) -> str | None:
        """The user it deletes, as of `Chunk.keys`."""
        if self.action is not None:
            return None
        return self.id if self.uid is None else self.uid


decode_call: Final[Callable[[bytes], Call]] = msgspec.json.Decoder(Call).decode
"""Reads a request of one of these kinds."""

encode_call: Final[Callable[[Call], bytes]] = msgspec.json.Encoder().encode
"""Makes a request of a call."""

_encode = msgspec.json.Encoder().encode


def join_calls(calls: list[Call]) -> Call:
    """One call in place of several of the same method and path, or of one that would have shared."""
    first = calls[0]
    if first.sharing is None:
        return first
    body = _encode({first.sharing.key: [call.body for call in calls]})
    return Call(method=first.method, path=first.path, body=msgspec.Raw(body))


def redacted_call(call: Call) -> bytes:
    """A call as it may be shown or written to a file: without the endpoint's secret."""
    if call.action is not None and call.content is not None:
        members = msgspec.json.decode(call.body, type=dict[str, msgspec.Raw])
        if "secret" in members:
            members["secret"] = msgspec.Raw(_encode(MASK))
            call = msgspec.structs.replace(call, body=msgspec.Raw(_encode(members)))
    return encode_call(call)


def redacted_spec(spec: MappingSpec) -> dict[str, Any]:
    """A mapping as it may be written to a file: without a constant that is an endpoint's secret."""
    shown: dict[str, Any] = msgspec.to_builtins(spec)
    if spec.kind == "webhook_endpoints":
        fields, template = shown["fields"], shown.get("json")
        if isinstance(fields.get("secret"), dict):
            fields["secret"] = MASK
        if isinstance(template, dict) and "secret" in template:
            template["secret"] = MASK
    return shown


def stored_call(kind: Kind, request: Any) -> MadeRequest | Rejected:
    """Make a call of the `request` of a rejects file, decoded or as JSON, to be sent again.

    Returns:
        The call, as the mapping gave it; why it cannot be sent: `invalid_call`, `invalid_path` for
        its id, or `masked_secret` where a secret had to be left out of the file.
    """
    encoded = request if isinstance(request, bytes) else _encode(request)
    try:
        call = decode_call(encoded)
    except msgspec.DecodeError as error:
        return Rejected("invalid_call", f"this is no stored call: {error}")
    if call.method not in METHODS or trouble_with(call.path, has_values=True):
        return Rejected("invalid_call", "the stored call's method or path cannot be sent")
    try:
        if call.id is not None:
            check_id(call.id)
    except Rejection as rejection:
        return rejection.outcome
    if call.action is not None and call.content is not None:
        secret = msgspec.json.decode(call.body, type=dict[str, Any]).get("secret")
        if secret == MASK:
            return masked_secret().outcome
    return MadeRequest(kind, msgspec.Raw(encoded), call.key)


class Maker(Protocol):
    """Makes the call of a record."""

    def make(self, record: dict[str, Any], dropped: list[str]) -> Call:
        """Makes it; adds the names of what is left out to `dropped`."""


class CallMapping(msgspec.Struct, frozen=True, kw_only=True):
    """Maps the records of a stream whose kind Fullstory takes call by call."""

    kind: Kind  # what its records become
    maker: Maker  # makes their calls
    secrets: tuple[Source, ...] = ()  # where a secret comes from
    notices: tuple[str, ...] = ()  # nothing is sent under another name
    sources: tuple[str, ...] = ()  # no code is generated

    def map(self, record: dict[str, Any], violation: str | None, dropped: list[str]) -> MadeRequest:
        """Makes the call of a record, as `RecordMapping.map`."""
        call = self.maker.make(record, dropped)
        if violation is not None:
            raise Rejection("schema_violation", violation)
        return MadeRequest(self.kind, msgspec.Raw(encode_call(call)), call.key)

    def redact(self, record: dict[str, Any], rejected: Rejected) -> tuple[dict[str, Any], Rejected]:
        """A rejected record and the reason as they may be written to a file: without secrets."""
        if not self.secrets:
            return record, rejected
        # A stream map may have renamed the column since.
        found = [*(source.read(record) for source in self.secrets), record.get("secret")]
        secrets = [one for one in found if one is not None and one is not MISSING and one != ""]
        message = rejected.message
        for secret in secrets:
            written = json.dumps(secret, default=str)
            for text in (written, written.strip('"'), str(secret)):
                message = message.replace(text, MASK)
        return _masked(record, secrets), Rejected(rejected.code, message, rejected.column)


def _masked(value: Any, secrets: list[Any]) -> Any:
    if any(value == secret for secret in secrets):
        return MASK
    if isinstance(value, dict):
        return {key: _masked(inner, secrets) for key, inner in value.items()}
    if isinstance(value, list):
        return [_masked(inner, secrets) for inner in value]
    return value
