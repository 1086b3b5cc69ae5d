"""A client of the sandbox that knows nothing but HTTP, and sandboxes to talk to."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
import requests

from target_fullstory.sandbox import Sandbox, SandboxOptions

Json = dict[str, Any]


class Client:
    """Calls a sandbox."""

    def __init__(self, url: str, authorization: str | None = "Basic any-key") -> None:
        self.url = url
        self.session = requests.Session()
        if authorization is not None:
            self.session.headers["Authorization"] = authorization

    def call(self, method: str, path: str, key: str | None = None, **rest: Any) -> requests.Response:
        headers = {} if key is None else {"Idempotency-Key": key}
        return self.session.request(method, self.url + path, headers=headers, timeout=30, **rest)

    def get(self, path: str, **query: Any) -> Json:
        response = self.call("GET", path, params=query)
        assert response.status_code == 200, response.text
        return response.json()

    def post(self, path: str, body: object, key: str | None = None) -> Json:
        response = self.call("POST", path, key, json=body)
        assert response.status_code == 200, response.text
        return response.json()

    def refused(self, method: str, path: str, body: object = None, **rest: Any) -> tuple[int, str]:
        """Status and code of a call that must not succeed."""
        if body is not None:
            rest["json"] = body
        response = self.call(method, path, **rest)
        error = response.json()
        assert set(error) == {"message", "code"}
        assert error["message"]
        return response.status_code, error["code"]

    def batch(self, kind: str, items: list[Json], **rest: Any) -> str:
        """Submits a batch; its job's id."""
        return self.post(f"/v2/{kind}/batch", {"requests": items, **rest})["job"]["id"]

    def occupy(self, batches: int) -> None:
        """Submits batches of 50,000 users that say nothing."""
        body = b'{"requests": [' + b",".join([b"{}"] * 50_000) + b"]}"
        for _ in range(batches):
            assert self.call("POST", "/v2/users/batch", data=body).status_code == 200

    def finished(self, kind: str, job_id: str) -> Json:
        """Status of a job once it has ended."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            status = self.get(f"/v2/{kind}/batch/{job_id}")
            if status["job"]["status"] != "PROCESSING":
                return status
            time.sleep(0.01)
        raise AssertionError(f"job {job_id} does not end")

    def pages(self, path: str, **query: Any) -> list[list[Any]]:
        """All pages of a listing."""
        pages: list[list[Any]] = []
        for _ in range(1000):
            page = self.get(path, **query)
            pages.append(page["results"])
            query["page_token"] = page.get("next_page_token")
            if query["page_token"] is None:
                return pages
        raise AssertionError(f"{path} has no last page")


@pytest.fixture(scope="session")
def shared_sandbox() -> Iterator[Sandbox]:
    with Sandbox(SandboxOptions(job_seconds=0.05, page_size=3)) as sandbox:
        yield sandbox


@pytest.fixture
def api(shared_sandbox: Sandbox) -> Client:
    """A client of an empty sandbox with quick jobs and pages of three."""
    client = Client(shared_sandbox.url)
    client.post("/sandbox/reset", None)
    return client


@pytest.fixture
def start() -> Callable[..., AbstractContextManager[Client]]:
    """Starts a sandbox with options of its own: `with start(role="USER") as api:`."""

    @contextmanager
    def starting(**options: Any) -> Iterator[Client]:
        with Sandbox(SandboxOptions(**options)) as sandbox:
            yield Client(sandbox.url)

    return starting


@pytest.fixture
def connect() -> type[Client]:
    """Makes a client of a URL."""
    return Client
