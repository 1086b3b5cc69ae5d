"""A plain target on singer-sdk, as its documentation leads to: the thing to be faster than.

All is the SDK's default: how lines are read and records validated, and batches of 10,000 records. It does
the mapping that target-fullstory does for the same SCHEMA, and posts each batch with requests. It has none
of the rest: it follows no job, limits no request's size, retries nothing, accounts for nothing and has no
idempotency keys. So that it is not slowed down for nothing, it keeps its connection, and encodes with
the standard library's json rather than with the SDK's slower helper.
"""

from __future__ import annotations

import datetime as dt
import decimal
import json
from typing import Any, ClassVar

import requests
from singer_sdk import BatchSink, Target
from singer_sdk import typing as th

_DECLARED = {"seats": "int", "created_at": "date"}


def user_request(record: dict[str, Any]) -> dict[str, Any]:
    """The request of a user: the key becomes the uid, what is no field of Fullstory's a property."""
    columns = {name: value for name, value in record.items() if value is not None}
    request = {
        "uid": str(columns.pop("id")),
        "email": columns.pop("email"),
        "display_name": columns.pop("display_name"),
        "properties": columns,
    }
    declared = {name: kind for name, kind in _DECLARED.items() if name in columns}
    if declared:
        request["schema"] = {"properties": declared}
    return request


def _as_json(value: object) -> object:
    """What the SDK's reader and parser make of numbers and moments, as JSON takes it."""
    if isinstance(value, decimal.Decimal):
        return float(value)
    if isinstance(value, dt.datetime):
        return value.isoformat()
    raise TypeError(type(value).__name__)


class PlainSink(BatchSink):
    """Posts batches of users."""

    def __init__(self, *args: Any, **options: Any) -> None:
        """Open a connection that all batches share."""
        super().__init__(*args, **options)
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.headers["Authorization"] = f"Basic {self.config['api_key']}"

    def process_batch(self, context: dict[str, Any]) -> None:
        """Map, encode and post the records of a batch."""
        body = {"requests": [user_request(record) for record in context["records"]]}
        answer = self._session.post(
            f"{self.config['api_url']}/v2/users/batch",
            data=json.dumps(body, default=_as_json, separators=(",", ":")).encode(),
            headers={"Content-Type": "application/json"},
            timeout=60,
        )
        answer.raise_for_status()


class PlainTarget(Target):
    """A target that does not more than it must."""

    name = "target-plain"
    config_jsonschema: ClassVar[dict[str, Any]] = th.PropertiesList(
        th.Property("api_url", th.StringType, required=True),
        th.Property("api_key", th.StringType, required=True, secret=True),
    ).to_dict()
    default_sink_class = PlainSink


if __name__ == "__main__":
    PlainTarget.cli()
