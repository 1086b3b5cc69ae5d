"""Validation of records against their stream's SCHEMA, in compiled code."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any, NoReturn

import jsonschema_rs
from singer_sdk.exceptions import InvalidJSONSchema, InvalidRecord
from singer_sdk.sinks.core import BaseJSONSchemaValidator, JSONSchemaValidator


class RecordValidator(BaseJSONSchemaValidator):
    """JSON Schema draft 2020-12 without format checks, as singer-sdk's own validator, but faster."""

    def __init__(self, schema: dict[str, Any]) -> None:
        super().__init__(schema)
        # Regular expressions are Python's in singer-sdk: where the two could differ, Python decides.
        self._has_patterns = "pattern" in str(schema)
        self._validator: jsonschema_rs.Draft202012Validator | None = None
        try:
            self._validator = jsonschema_rs.Draft202012Validator(
                schema, validate_formats=False, retriever=_refuse
            )
        except (ValueError, TypeError) as error:
            if not self._has_patterns:
                raise InvalidJSONSchema(str(error).splitlines()[0]) from None
            self._in_python  # noqa: B018 - raises where the SCHEMA is not valid

    def validate(self, record: dict[str, Any]) -> None:
        """Raise singer-sdk's InvalidRecord where a record violates the SCHEMA."""
        violation = self.violation(record)
        if violation is not None:
            raise InvalidRecord(violation, record)

    def violation(self, record: dict[str, Any]) -> str | None:
        """How a record violates the SCHEMA, in a sentence; None where it does not."""
        if self._validator is None:
            return self._violation_in_python(record)
        try:
            self._validator.validate(record)
        except jsonschema_rs.ValidationError as error:
            plain = isinstance(error.instance, str | bool | int)
            if not self._has_patterns and (plain or not _beyond_json(record)):
                return error.message
            return self._violation_in_python(record)
        except (ValueError, TypeError, RecursionError):
            return self._violation_in_python(record)
        return None

    def _violation_in_python(self, record: dict[str, Any]) -> str | None:
        try:
            self._in_python.validate(record)
        except InvalidRecord as error:
            return error.error_message
        return None

    @cached_property
    def _in_python(self) -> JSONSchemaValidator:
        """Takes values that JSON lacks, such as NaN, as Python does: NaN is a number."""
        return JSONSchemaValidator(self.schema)


def _refuse(address: str) -> NoReturn:
    raise ValueError(f"a SCHEMA may not refer to {address}")


def _beyond_json(value: Any) -> bool:
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, dict):
        return any(map(_beyond_json, value.values()))
    return isinstance(value, list) and any(map(_beyond_json, value))
