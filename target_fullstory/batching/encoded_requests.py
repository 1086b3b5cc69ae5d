"""Reads what delivery needs to know out of encoded requests."""

from __future__ import annotations

import msgspec


class _Identity(msgspec.Struct):
    uid: str | None = None
    id: str | None = None


class _Time(msgspec.Struct):
    timestamp: str | None = None


_requests = msgspec.json.Decoder(list[msgspec.Raw])
_identity = msgspec.json.Decoder(_Identity)
_time = msgspec.json.Decoder(_Time)


def split_requests(items: list[bytes]) -> list[bytes]:
    """The single requests in encoded pieces of a batch.

    Args:
        items: Pieces of JSON, each one request or several joined by commas.
    """
    return [bytes(raw) for raw in _requests.decode(b"[" + b",".join(items) + b"]")]


def identity(request: bytes) -> tuple[str | None, str | None]:
    """The `uid` and the `id` in a user request."""
    found = _identity.decode(request)
    return found.uid, found.id


def has_timestamp(request: bytes) -> bool:
    """Whether an event request carries a timestamp of its own."""
    return _time.decode(request).timestamp is not None
