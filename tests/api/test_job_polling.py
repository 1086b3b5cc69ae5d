"""Looking at batch jobs, over a transport that answers from a list."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from target_fullstory.accounting.ledger import JobEntry
from target_fullstory.api.client import Client
from target_fullstory.api.job_polling import ListNotReadyError, PolledJob, poll_intervals
from target_fullstory.api.transport import HttpRequest, HttpResponse, NoResponseError
from target_fullstory.errors import DeliveryError
from target_fullstory.settings.load_settings import load_settings

URL = "https://api.example.com"


class Listed:
    """Answers each request with the next of some responses; with the last one from then on."""

    def __init__(self, *responses: tuple[int, Any]) -> None:
        self._responses = responses
        self.requests: list[HttpRequest] = []

    def send(self, request: HttpRequest) -> HttpResponse:
        status, body = self._responses[min(len(self.requests), len(self._responses) - 1)]
        self.requests.append(request)
        if not status:
            raise NoResponseError("Timeout")
        return HttpResponse(status, {}, json.dumps(body).encode())

    def close(self) -> None:
        pass


def polled(*responses: tuple[int, Any], records: int = 3) -> tuple[PolledJob, Listed]:
    transport = Listed(*responses)
    client = Client(load_settings({"api_key": "k3y", "api_url": URL}), URL, transport)
    return PolledJob(client, JobEntry(id="a/b", kind="users", records=records)), transport


def test_a_look_brings_the_entry_up_to_date() -> None:
    done = {"job": {"status": "COMPLETED", "created": "c", "finished": "f"}, "imports": "2"}
    job, transport = polled((200, {"job": {"status": "PROCESSING"}}), (200, done))
    assert not job.look()
    assert job.look()
    entry = job.entry
    assert (entry.status, entry.imports, entry.errors) == ("COMPLETED", 2, 0)
    assert (entry.created, entry.finished) == ("c", "f")
    assert {request.url for request in transport.requests} == {f"{URL}/v2/users/batch/a%2Fb"}


def test_a_job_is_unknown_for_good_after_five_looks_in_a_row() -> None:
    unknown, found = (404, {"code": "not_found"}), (200, {"job": {"status": "PROCESSING"}})
    job, _ = polled(*[unknown] * 4, found, unknown)
    assert [job.look() for _ in range(10)] == [False] * 9 + [True]
    assert job.entry.status == "UNKNOWN"


@pytest.mark.parametrize(
    ("response", "told"),
    [((400, {"code": "odd"}), "400 (odd)"), ((200, {"job": {}}), "200 (without a status)")],
)
def test_what_does_not_tell_how_a_job_stands(response: tuple[int, Any], told: str) -> None:
    job, _ = polled(response)
    with pytest.raises(DeliveryError) as error:
        job.look()
    assert f"job a/b stands: it answered {told}" in str(error.value)


def test_errors_are_read_page_by_page_also_after_a_lost_response() -> None:
    first = {"results": [{"code": "c", "user": {"uid": "u"}}], "next_page_token": "t"}
    last = {"results": [{"message": "m"}, "odd"]}
    job, transport = polled((200, first), (0, None), (200, last))
    assert job.refused_items() == [("c", "", b'{"uid":"u"}'), ("unknown", "m", None)]
    assert [request.params for request in transport.requests] == [{}] + [{"page_token": "t"}] * 2


def test_a_page_token_that_comes_again_ends_the_paging() -> None:
    job, transport = polled((200, {"results": [{"code": "c"}], "next_page_token": "again"}))
    assert len(job.refused_items()) == 2
    assert len(transport.requests) == 2


def test_pages_of_nothing_have_an_end() -> None:
    pages = [(200, {"next_page_token": str(number)}) for number in range(9)]
    job, transport = polled(*pages)
    assert job.refused_items() == []
    assert len(transport.requests) == job.entry.records + 1


def test_no_more_items_are_taken_than_the_job_has_records() -> None:
    pages = [(200, {"results": [{"uid": "u"}] * 2, "next_page_token": str(number)}) for number in range(9)]
    job, transport = polled(*pages)
    assert len(list(job.imported_items())) == job.entry.records == 3
    assert len(transport.requests) == 2


def test_a_list_that_is_not_ready_is_told() -> None:
    job, _ = polled((202, {}))
    with pytest.raises(ListNotReadyError):
        job.refused_items()


def test_what_is_no_list_is_an_error() -> None:
    job, _ = polled((200, {"results": {"code": "c"}}))
    with pytest.raises(DeliveryError, match="cannot be read"):
        list(job.refused_items())


def test_the_intervals_grow_to_half_a_minute() -> None:
    assert list(itertools.islice(poll_intervals(2), 9)) == pytest.approx(
        [2, 3, 4.5, 6.75, 10.125, 15.1875, 22.78125, 30, 30]
    )
