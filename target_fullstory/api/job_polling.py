"""Polling batch jobs: one look at a job, the items it took and refused, when to look again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple
from urllib.parse import quote

import msgspec

from target_fullstory.accounting.ledger import JobEntry
from target_fullstory.api.client import Client
from target_fullstory.errors import DeliveryError
from target_fullstory.kinds import KINDS
from target_fullstory.settings.model import API_BATCH_LIMIT

COMPLETED, FAILED, UNKNOWN = "COMPLETED", "FAILED", "UNKNOWN"
_UNKNOWN_AFTER = 5
_LONGEST_INTERVAL = 30.0
_INTERVAL_GROWTH = 1.5


class ListNotReadyError(Exception):
    """The list of a job's items is still being made (202)."""


class RefusedItem(NamedTuple):
    """An item that a job refused, with its request as JSON where Fullstory gives it back."""

    code: str
    message: str
    request: bytes | None


def adds_up(entry: JobEntry) -> bool:
    """Whether a job's figures account for each of its records, as far as their number is known."""
    return not entry.records or entry.imports + entry.errors == entry.records


@dataclass
class PolledJob:
    """A job that is polled until it is over; each look brings its entry up to date."""

    _client: Client
    entry: JobEntry
    _unknown: int = 0  # looks in a row for which Fullstory had no such job

    @property
    def _path(self) -> str:
        return f"{KINDS[self.entry.kind].endpoint}/batch/{quote(self.entry.id, safe='')}"

    def look(self) -> bool:
        """Ask for the job's status, `UNKNOWN` where Fullstory has no such job; returns whether it is over.

        A job may be unknown for a moment after its creation.
        """
        entry, response = self.entry, self._client.call("GET", self._path)
        if response.status == 404:
            self._unknown += 1
            entry.status = UNKNOWN
            return self._unknown >= _UNKNOWN_AFTER
        job = response.data.get("job")
        if not response.ok or not isinstance(job, dict) or not isinstance(job.get("status"), str):
            raise DeliveryError(
                f"Fullstory does not tell how job {entry.id} stands: it answered {response.status} "
                f"({'without a status' if response.ok else response.code}). Check the setting api_url."
            )
        self._unknown = 0
        entry.status = job["status"]
        entry.imports = _number(response.data.get("imports"), entry.imports)
        entry.errors = _number(response.data.get("errors"), entry.errors)
        entry.created = str(job.get("created") or entry.created)
        entry.finished = str(job["finished"]) if job.get("finished") else entry.finished
        return entry.status in {COMPLETED, FAILED}

    def refused_items(self) -> list[RefusedItem]:
        """The job's errors, of all pages; raises a ListNotReadyError where they are still being listed."""
        items = []
        for item in self._listed("errors"):
            request = item.get(KINDS[self.entry.kind].item)
            code, message = str(item.get("code") or "unknown"), str(item.get("message") or "")
            # As JSON: a job may have refused all of its items, and objects take several times as much.
            items.append(RefusedItem(code, message, msgspec.json.encode(request) if request else None))
        return items

    def imported_items(self) -> Iterator[dict[str, Any]]:
        """What the job has imported, as Fullstory shows it; raises as `refused_items` does."""
        return self._listed("imports")

    def _listed(self, listing: Literal["errors", "imports"]) -> Iterator[dict[str, Any]]:
        """Read one of the job's lists, page by page; no more items than the job has records."""
        entry, most = self.entry, self.entry.records or API_BATCH_LIMIT
        left, token, seen = most, "", {""}
        while left:
            params = {"page_token": token} if token else {}
            response = self._client.call("GET", f"{self._path}/{listing}", params=params)
            if response.status == 202:
                raise ListNotReadyError
            results = response.data.get("results") or []
            if not response.ok or not isinstance(results, list):
                reason = "they are not a list" if response.ok else response.code
                raise DeliveryError(
                    f"The {listing} of job {entry.id} cannot be read: {response.status} ({reason})."
                )
            items = [item for item in results if isinstance(item, dict)][:left]
            left -= len(items)
            yield from items
            token = str(response.data.get("next_page_token") or "")
            # A token that comes again, or pages of nothing without an end, lead nowhere.
            if token in seen or len(seen) > most:
                return
            seen.add(token)


def poll_intervals(first: float) -> Iterator[float]:
    """Seconds from one look to the next, growing to half a minute."""
    interval = first
    while True:
        yield interval
        interval = min(interval * _INTERVAL_GROWTH, _LONGEST_INTERVAL)


def _number(value: Any, known: int) -> int:
    """A number that the API gives as a number or, as 64-bit numbers often are, as a string."""
    try:
        return int(value)
    except (TypeError, ValueError):
        return known
