"""Sends requests over HTTP; tests, previews and dry runs may put another transport in its place.

The key goes to the configured host alone: it is set as requests prepares a request to that host, redirects
are not even looked at, and `~/.netrc` is not consulted.
"""

from __future__ import annotations

import base64
import contextlib
import os
import ssl
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeAlias
from urllib.parse import urlsplit

import requests
import urllib3.exceptions

from target_fullstory.api.connections import BoundedAdapter, TimeLimit
from target_fullstory.api.network_errors import failed_exchange
from target_fullstory.errors import ConfigurationError
from target_fullstory.logs import silence_urllib3
from target_fullstory.settings.addresses import is_loopback
from target_fullstory.settings.model import Settings

_SANDBOX_KEY = "sandbox"  # sent where no key is configured; only the embedded sandbox accepts it
_LARGEST_RESPONSE = 256 * 1024 * 1024
_READ_BYTES = 65536
_SHORT_RESPONSE = 1024
_GZIP = 16 + zlib.MAX_WBITS  # for zlib

Authenticate: TypeAlias = Callable[[requests.PreparedRequest], requests.PreparedRequest]

Body: TypeAlias = bytes | Iterable[bytes]
"""A body, whole or in parts that each attempt iterates over; `len()` is the bytes in all either way."""


class HttpRequest(NamedTuple):
    """A request, without the headers that all of them have, such as the key; `seconds` is its time limit."""

    method: str
    url: str
    body: Body | None
    headers: Mapping[str, str]
    params: Mapping[str, str] | None
    seconds: float


class HttpResponse(NamedTuple):
    """A response as it came."""

    status: int
    headers: Mapping[str, str]
    content: bytes


class Transport(Protocol):
    """Sends one request; used from several threads at a time."""

    def send(self, request: HttpRequest) -> HttpResponse:
        """Send a request and read its response; raises NoResponseError or NotSendableError."""

    def close(self) -> None:
        """Close the connections."""


class HttpTransport:
    """Sends requests to the API over HTTP, with the key."""

    def __init__(self, settings: Settings, url: str) -> None:
        key = settings.bare_key or _SANDBOX_KEY
        if settings.api_key_encoding == "base64":
            key = base64.b64encode(f"{key}:".encode()).decode()
        auth = header_auth("Authorization", f"Basic {key}")
        self._session = open_session(url, auth, pool_size=settings.concurrency + 2)
        self._session.headers["Integration-Source"] = settings.integration_source.strip()
        self._session.headers["Accept"] = "application/json"

    def send(self, request: HttpRequest) -> HttpResponse:
        """See `Transport`."""
        response, content = exchange(
            self._session,
            request.method,
            request.url,
            seconds=request.seconds,
            data=request.body,
            params=request.params,
            headers=request.headers,
        )
        return HttpResponse(response.status_code, response.headers, content)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()


class _Session(requests.Session):
    """A session that takes each answer as it is: requests reads a redirect's body and where it leads."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        """For requests: nowhere."""


def open_session(url: str, auth: Authenticate, *, pool_size: int = 1) -> requests.Session:
    """A session for one host; having an `auth`, it never looks for credentials in `~/.netrc`."""
    silence_urllib3()
    session = _Session()
    # A loopback address is never behind a proxy, whatever the environment says.
    session.trust_env = not is_loopback(urlsplit(url).hostname or "")
    session.auth = auth
    session.headers["User-Agent"] = "target-fullstory"
    session.headers["Accept-Encoding"] = "gzip"
    adapter = BoundedAdapter(pool_maxsize=pool_size)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    if session.trust_env:
        _check_certificates()
    return session


def exchange(
    session: requests.Session,
    method: str,
    url: str,
    *,
    seconds: float,
    largest: int | None = _LARGEST_RESPONSE,
    **options: Any,
) -> tuple[requests.Response, bytes]:
    """Send a request and read its response, all within so many seconds.

    A response may have `largest` bytes; None where only its status matters.

    Raises:
        NoResponseError: The network failed, or the answer is not whole; another attempt may succeed.
        NotSendableError: The request cannot be sent.
    """
    content = b""
    with TimeLimit(seconds) as limit:
        try:
            with session.request(
                method, url, timeout=seconds, allow_redirects=False, stream=True, **options
            ) as response:
                if largest is None:
                    _drain(response)
                else:
                    content = _read(response, largest)
        except (requests.RequestException, OSError, ValueError, urllib3.exceptions.HTTPError) as error:
            failure: Exception = error
        else:
            if not limit.is_over or largest is None:
                return response, content
            failure = TimeoutError()
        host = urlsplit(url).hostname or ""
        failure = failed_exchange(failure, host, timed_out=limit.is_over, sent=limit.sent)
    raise failure from None


def header_auth(name: str, value: str) -> Authenticate:
    """Authenticate by a header that is always the same."""

    def authenticate(request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers[name] = value
        return request

    return authenticate


def _read(response: requests.Response, largest: int) -> bytes:
    received = bytearray()
    for part in response.raw.stream(_READ_BYTES, decode_content=False):
        received += part
        if len(received) > largest:
            raise requests.Timeout("the response does not end")
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if not received or encoding == "identity":
        return bytes(received)
    # Not by urllib3, which takes what was cut off for whole.
    decoder = zlib.decompressobj(_GZIP)
    try:
        content = decoder.decompress(received, largest)
    except zlib.error:
        content = b""
    if encoding not in {"gzip", "x-gzip"} or not decoder.eof:
        raise requests.exceptions.ContentDecodingError
    return content


def _drain(response: requests.Response) -> None:
    """Read a short body to its end, so that the connection can be used again."""
    length = response.headers.get("Content-Length", "")
    if length.isdecimal() and int(length) <= _SHORT_RESPONSE:
        with contextlib.suppress(urllib3.exceptions.HTTPError, OSError):
            response.raw.drain_conn()


def _check_certificates() -> None:
    """Refuse a CA bundle of the environment that requests could not use."""
    for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        path = os.environ.get(variable)
        if not path:
            continue
        try:
            if not Path(path).is_dir():
                ssl.create_default_context(cafile=path)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else None
            raise ConfigurationError(
                f"The environment's {variable} names no usable file of CA certificates ({path}: "
                f"{reason or 'not PEM'}). Correct it, or unset it."
            ) from None
        return
