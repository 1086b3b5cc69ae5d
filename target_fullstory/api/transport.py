"""Sends requests over HTTP; tests, previews and dry runs may put another transport in its place.

The key goes to the configured host alone: it is set as requests prepares a request to that host, redirects
are not followed, and `~/.netrc` is not consulted.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, Protocol, TypeAlias
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

from target_fullstory.logs import keep_addresses_out
from target_fullstory.settings.addresses import is_loopback
from target_fullstory.settings.model import Settings

_SANDBOX_KEY = "sandbox"  # sent where no key is configured; only the embedded sandbox accepts it
_LARGEST_RESPONSE = 256 * 1024 * 1024
_READ_BYTES = 65536

NETWORK_ERRORS = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.ContentDecodingError,
)
"""Failures of the network: another attempt may succeed."""

Authenticate: TypeAlias = Callable[[requests.PreparedRequest], requests.PreparedRequest]

Body: TypeAlias = bytes | Iterable[bytes]
"""A body, whole or in parts that each attempt iterates over; `len()` is the bytes in all either way."""


class HttpRequest(NamedTuple):
    """A request, without the headers that all of them have, such as the key."""

    method: str
    url: str
    body: Body | None
    headers: Mapping[str, str]
    params: Mapping[str, str] | None


class HttpResponse(NamedTuple):
    """A response as it came."""

    status: int
    headers: Mapping[str, str]
    content: bytes


class NoResponseError(Exception):
    """The network failed before a whole response was there; the request may have been carried out."""


class NotSendableError(Exception):
    """The request cannot be sent at all, now or later."""


class Transport(Protocol):
    """Sends one request; used from several threads at a time."""

    def send(self, request: HttpRequest) -> HttpResponse:
        """Send a request and read its response; raises NoResponseError or NotSendableError."""

    def close(self) -> None:
        """Close the connections."""


class HttpTransport:
    """Sends requests to the API over HTTP, with the key."""

    def __init__(self, settings: Settings, url: str) -> None:
        keep_addresses_out()
        self._timeout = settings.request_timeout_seconds
        key = settings.bare_key or _SANDBOX_KEY
        if settings.api_key_encoding == "base64":
            key = base64.b64encode(f"{key}:".encode()).decode()
        auth = header_auth("Authorization", f"Basic {key}")
        self._session = open_session(url, auth, pool_size=settings.concurrency + 2)
        self._session.headers["Integration-Source"] = settings.integration_source.strip()
        self._session.headers["Accept"] = "application/json"

    def send(self, request: HttpRequest) -> HttpResponse:
        """See `Transport`."""
        try:
            with self._session.request(
                request.method,
                request.url,
                data=request.body,
                params=request.params,
                headers=request.headers,
                timeout=self._timeout,
                allow_redirects=False,
                stream=True,
            ) as response:
                content = read_content(response, _LARGEST_RESPONSE, self._timeout, _READ_BYTES)
                return HttpResponse(response.status_code, response.headers, content)
        except NETWORK_ERRORS as error:
            raise NoResponseError(type(error).__name__) from None
        except requests.RequestException as error:
            raise NotSendableError(type(error).__name__) from None

    def close(self) -> None:
        """Close the connections."""
        self._session.close()


def open_session(url: str, auth: Authenticate, *, pool_size: int = 1) -> requests.Session:
    """A session for one host; having an `auth`, it never looks for credentials in `~/.netrc`."""
    session = requests.Session()
    # A loopback address is never behind a proxy, whatever the environment says.
    session.trust_env = not is_loopback(urlsplit(url).hostname or "")
    session.auth = auth
    session.headers["User-Agent"] = "target-fullstory"
    adapter = HTTPAdapter(pool_maxsize=pool_size)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


def header_auth(name: str, value: str) -> Authenticate:
    """Authenticate by a header that is always the same."""

    def authenticate(request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers[name] = value
        return request

    return authenticate


def read_content(response: requests.Response, limit: int, seconds: float, step: int) -> bytes:
    """Read a body `step` bytes at a time; raises requests' errors, also where it is too long or too slow."""
    deadline = time.monotonic() + seconds
    content = bytearray()
    for part in response.iter_content(step):
        content += part
        if time.monotonic() > deadline or len(content) > limit:
            raise requests.Timeout("the response does not end")
    return bytes(content)
