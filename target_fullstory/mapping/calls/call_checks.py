"""What can be wrong with a mapping of calls, and with the keys of calls in other mappings."""

from __future__ import annotations

from target_fullstory.errors import config_error, did_you_mean
from target_fullstory.mapping.calls.call_paths import parts_of
from target_fullstory.mapping.calls.call_templates import check_json
from target_fullstory.mapping.plan.sources import Const
from target_fullstory.mapping.plan.written_sources import WrittenSource
from target_fullstory.mapping.rules.path_values import METHODS
from target_fullstory.mapping.spec import MappingSpec

_OF_REQUESTS = ("method", "path", "batch")
_WITHOUT_COLUMNS = ("user_deletions", "webhook_endpoints")


def check_keys(stream: str, spec: MappingSpec) -> None:
    """Finds keys that a mapping of this kind cannot have, and misses those that it must."""
    if spec.json is not None and spec.kind in ("request", *_WITHOUT_COLUMNS):
        check_json(stream, spec)
    if spec.soft_delete is not None and spec.kind != "users":
        raise config_error(stream, "soft_delete", f"only kind 'users' has this key, not {spec.kind!r}")
    if spec.timezone is not None and spec.kind in _WITHOUT_COLUMNS:
        raise config_error(stream, "timezone", f"kind {spec.kind!r} sends no dates")
    if spec.kind == "request":
        _check_request(stream, spec)
        return
    for key in _OF_REQUESTS:
        if getattr(spec, key) is not None:
            raise config_error(stream, key, f"only kind 'request' has this key, not {spec.kind!r}")
    if spec.kind in _WITHOUT_COLUMNS:
        for key in ("properties", "exclude"):
            if getattr(spec, key):
                problem = f"kind {spec.kind!r} sends no columns but those under fields"
                raise config_error(stream, key, problem)


def check_path(stream: str, key: str, path: str) -> tuple[tuple[str, str | None], ...]:
    """Takes a path of a mapping apart, as `parts_of`."""
    try:
        return parts_of(path)
    except ValueError as error:
        raise config_error(stream, key, f"{path!r} cannot be sent: {error}") from None


def check_body_path(stream: str, names: list[tuple[str, ...]]) -> None:
    """Makes sure that no member of a body is both a value and an object."""
    for name in names:
        for end in range(1, len(name)):
            if name[:end] in names:
                problem = f"contradicts properties.{'.'.join(name[:end])}: the whole or its parts"
                raise config_error(stream, f"properties.{'.'.join(name)}", problem)


def _check_request(stream: str, spec: MappingSpec) -> None:
    for key in ("method", "path"):
        if getattr(spec, key) is not None and key in spec.fields:
            raise config_error(stream, key, f"contradicts fields.{key}: give one of them")
    if spec.method is not None and spec.method.strip().upper() not in METHODS:
        problem = f"unknown method {spec.method!r}{did_you_mean(spec.method, METHODS)}"
        raise config_error(stream, "method", problem)
    if spec.path is not None:
        check_path(stream, "path", spec.path)


def check_no_get(stream: str, spec: MappingSpec, method: WrittenSource) -> None:
    """Makes sure that what has no body is asked for none."""
    if not isinstance(method, Const) or str(method.value).strip().upper() != "GET":
        return
    for key in ("batch", "properties", "json"):
        if getattr(spec, key) is not None:
            raise config_error(stream, key, "a GET has no body")
