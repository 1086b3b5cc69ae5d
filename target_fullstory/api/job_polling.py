"""Batch jobs as Fullstory tells of them: one look at a job, the items it refused, when to look again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import msgspec

from target_fullstory.api.client import Client
from target_fullstory.errors import DeliveryError

COMPLETED, FAILED, UNKNOWN = "COMPLETED", "FAILED", "UNKNOWN"
_UNKNOWN_AFTER = 5
_LONGEST_INTERVAL = 30.0
_INTERVAL_GROWTH = 1.5
_ITEM = {"users": "user", "events": "event"}


class JobStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How a job stands.

    Attributes:
        status: Fullstory's `PROCESSING`, `COMPLETED` or `FAILED`; `UNKNOWN` where Fullstory has no such job.
        over: Whether this is the last one: a job may be unknown for a moment after its creation.
        imports: Items taken in; None where Fullstory does not say, as for the following.
    """

    status: str
    over: bool
    imports: int | None = None
    errors: int | None = None
    created: str | None = None
    finished: str | None = None


class RefusedItem(msgspec.Struct, frozen=True):
    """An item that a job refused, with its request as Fullstory gives it back."""

    code: str
    message: str
    request: Any


class PolledJob:
    """A job that is looked at until it is over."""

    def __init__(self, client: Client, kind: str, job_id: str) -> None:
        self._client = client
        self._kind = kind
        self._id = job_id
        self._path = f"/v2/{kind}/batch/{quote(job_id, safe='')}"
        self._unknown = 0

    def look(self) -> JobStatus:
        """Ask how the job stands.

        Raises:
            DeliveryError: Fullstory does not tell.
        """
        response = self._client.call("GET", self._path)
        if response.status == 404:
            self._unknown += 1
            return JobStatus(status=UNKNOWN, over=self._unknown >= _UNKNOWN_AFTER)
        job = response.data.get("job")
        if not response.ok or not isinstance(job, dict) or not isinstance(job.get("status"), str):
            raise DeliveryError(
                f"Fullstory does not tell how job {self._id} stands: it answered {response.status} "
                f"({'without a status' if response.ok else response.code}). Check the setting api_url."
            )
        self._unknown = 0
        return JobStatus(
            status=job["status"],
            over=job["status"] in {COMPLETED, FAILED},
            imports=_number(response.data.get("imports")),
            errors=_number(response.data.get("errors")),
            created=str(job["created"]) if job.get("created") else None,
            finished=str(job["finished"]) if job.get("finished") else None,
        )

    def refused_items(self, records: int) -> Iterator[RefusedItem]:
        """Read the errors of a job of so many records, page by page.

        Raises:
            DeliveryError: They cannot be read.
        """
        token = ""
        for _ in range(records + 1):
            params = {"page_token": token} if token else {}
            response = self._client.call("GET", f"{self._path}/errors", params=params)
            if not response.ok:
                raise DeliveryError(
                    f"The errors of job {self._id} cannot be read: {response.status} ({response.code})."
                )
            results = response.data.get("results") or []
            if not isinstance(results, list):
                raise DeliveryError(
                    f"The errors of job {self._id} are not a list; they cannot be read."
                )
            for item in results:
                if isinstance(item, dict):
                    yield RefusedItem(
                        str(item.get("code") or "unknown"),
                        str(item.get("message") or ""),
                        item.get(_ITEM[self._kind]),
                    )
            token = str(response.data.get("next_page_token") or "")
            if not token:
                return


def poll_intervals(first: float) -> Iterator[float]:
    """Seconds from one look to the next, growing to half a minute."""
    interval = first
    while True:
        yield interval
        interval = min(interval * _INTERVAL_GROWTH, _LONGEST_INTERVAL)


def _number(value: Any) -> int | None:
    """A number that the API gives as a number or, as 64-bit numbers often are, as a string."""
    try:
        return int(value)
    except (TypeError, ValueError):
        return None
