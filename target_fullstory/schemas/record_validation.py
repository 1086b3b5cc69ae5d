"""Validation of records against their stream's SCHEMA, in compiled code."""

from __future__ import annotations

import math
from datetime import date, time
from decimal import Decimal
from typing import Any

import jsonschema_rs
from singer_sdk.exceptions import InvalidRecord
from singer_sdk.sinks.core import BaseJSONSchemaValidator

from target_fullstory.mapping import Rejected
from target_fullstory.schemas.regular_expressions import ENGINE, as_in_python
from target_fullstory.schemas.violations import Violations


class RecordValidator(BaseJSONSchemaValidator):
    """JSON Schema draft 2020-12 without format checks, as singer-sdk's own validator, but faster.

    A pattern fits where it does by JSON Schema or by Python; at the top, columns that begin with `_sdc_` need
    not be declared, since taps and Singer's own tools add them to any record.
    """

    def __init__(self, schema: dict[str, Any]) -> None:
        """Compile a SCHEMA that was repaired."""
        super().__init__(schema)
        open_schema = _with_sdc_columns(schema)
        self._validator = compiled(open_schema)
        as_python = _translated(open_schema)
        self._as_python = compiled(as_python) if as_python != open_schema else None
        self._violations = Violations()

    def validate(self, record: dict[str, Any]) -> None:
        """Raise singer-sdk's InvalidRecord where a record violates the SCHEMA."""
        violation = self.violation(record)
        if violation is not None:
            raise InvalidRecord(violation.message, record)

    def violation(self, record: dict[str, Any]) -> Rejected | None:
        """How a record violates the SCHEMA; None where it does not."""
        try:
            self._validator.validate(record)
        except jsonschema_rs.ValidationError as error:
            if isinstance(error.instance, _PLAIN) or not _holds_beyond_json(record):
                return self._unless_in_python(error, record)
        except (ValueError, TypeError, RecursionError):
            pass  # it holds what JSON lacks
        else:
            return None
        return self._violation_beyond_json(record)

    def _unless_in_python(self, error: jsonschema_rs.ValidationError, record: Any) -> Rejected | None:
        if self._as_python is not None and self._as_python.is_valid(record):
            return None
        return self._violations.rejection(error)

    def _violation_beyond_json(self, record: dict[str, Any]) -> Rejected | None:
        """The violation of a record that holds what JSON lacks: NaN is a number within any bounds."""
        nans: set[tuple[str | int, ...]] = set()
        plain = _plain(record, (), nans)
        for error in self._validator.iter_errors(plain):
            bound = type(error.kind).__name__ in _BOUNDS
            if not (bound and tuple(error.instance_path) in nans):
                return self._unless_in_python(error, plain)
        return None


def compiled(schema: dict[str, Any]) -> jsonschema_rs.Validator:
    """The validator of a SCHEMA.

    Raises:
        ValueError: It is none.
        TypeError: It holds what JSON lacks.
    """
    return jsonschema_rs.Draft202012Validator(
        schema, validate_formats=False, offline=True, pattern_options=ENGINE
    )


def _with_sdc_columns(schema: dict[str, Any]) -> dict[str, Any]:
    if not {"additionalProperties", "unevaluatedProperties"} & schema.keys():
        return schema
    return {**schema, "patternProperties": {"^_sdc_": {}, **schema.get("patternProperties", {})}}


def _translated(schema: Any) -> Any:
    """The schema with its patterns as Python means them."""
    if isinstance(schema, list):
        return [_translated(inner) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    made = {keyword: _translated(value) for keyword, value in schema.items()}
    if isinstance(made.get("pattern"), str):
        made["pattern"] = as_in_python(made["pattern"])
    if isinstance(named := made.get("patternProperties"), dict):
        made["patternProperties"] = {as_in_python(pattern): inner for pattern, inner in named.items()}
    return made


_PLAIN = (str, bool, int)
_BOUNDS = frozenset({"Minimum", "Maximum", "ExclusiveMinimum", "ExclusiveMaximum", "MultipleOf"})
_DEEPEST = 200
_LARGEST = 10**300
# No integers, and larger than any bound.
_ENDLESS, _MINUS_ENDLESS = (Decimal(f"{sign}1{'0' * 308}.5") for sign in ("", "-"))


def _holds_beyond_json(value: Any) -> bool:
    if isinstance(value, float | Decimal):
        return not math.isfinite(value)
    if isinstance(value, dict):
        return any(map(_holds_beyond_json, value.values()))
    return isinstance(value, list) and any(map(_holds_beyond_json, value))


def _plain(value: Any, path: tuple[str | int, ...], nans: set[tuple[str | int, ...]]) -> Any:
    """A value in JSON that is as valid; the paths of NaN are added to `nans`."""
    if isinstance(value, dict):
        members = value.items() if len(path) < _DEEPEST else ()
        named = ((_plain_text(str(name)), inner) for name, inner in members)
        return {name: _plain(inner, (*path, name), nans) for name, inner in named}
    if isinstance(value, list | tuple | set):
        items = value if len(path) < _DEEPEST else ()
        return [_plain(inner, (*path, at), nans) for at, inner in enumerate(items)]
    if isinstance(value, float | Decimal) and math.isnan(value):
        nans.add(path)
        return 0.5
    if isinstance(value, bool | int | float | Decimal | None):
        return _plain_number(value)
    return _plain_text(value.isoformat() if isinstance(value, date | time) else str(value))


def _plain_number(value: bool | int | float | Decimal | None) -> bool | int | float | Decimal | None:
    if value is None or isinstance(value, bool):
        return value
    if not math.isfinite(value):
        return _ENDLESS if value > 0 else _MINUS_ENDLESS
    return max(-_LARGEST, min(value, _LARGEST)) if isinstance(value, int) else value


def _plain_text(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
