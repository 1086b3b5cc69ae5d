"""The HTTP client: one call to the Server API with its retries.

The key goes to the configured host alone: it is set by an authentication object that requests applies to
that host's requests only, redirects are not followed, and `~/.netrc` is not consulted.
"""

from __future__ import annotations

import base64
import logging
import re
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias
from urllib.parse import urlsplit

import backoff
import msgspec
import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase

from target_fullstory.api.throttle import Throttle, retry_after
from target_fullstory.batching.batch_body import BatchBody
from target_fullstory.errors import DeliveryError
from target_fullstory.logs import keep_addresses_out, logger
from target_fullstory.settings.addresses import is_loopback
from target_fullstory.settings.model import Settings

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 60.0
_LARGEST_ANSWER = 256 * 1024 * 1024
_KEPT_500_AFTER = 2
_TRIES_BEFORE_A_WARNING = 3
_TROUBLE = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.ContentDecodingError,
)


Content: TypeAlias = Literal["object", "json", "any"]
"""What a body has to be: a JSON object; JSON or empty; anything."""

_CODE = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class Answer(msgspec.Struct, frozen=True):
    """A final answer of the API.

    Attributes:
        status: The HTTP status: 2xx, a 4xx that concerns this request alone, or 3xx.
        data: The JSON object in the body.
        uncertain: Whether an earlier attempt got no clear answer, so that it may have been carried out.
    """

    status: int
    data: dict[str, Any]
    uncertain: bool = False

    @property
    def ok(self) -> bool:
        """Whether the API did what was asked."""
        return 200 <= self.status < 300

    @property
    def code(self) -> str:
        """The API's error code, or one made of the status where it gave none that is one."""
        code = self.data.get("code")
        return code if isinstance(code, str) and _CODE.fullmatch(code) else f"http_{self.status}"

    @property
    def message(self) -> str:
        """The API's error message."""
        return str(self.data.get("message") or f"Fullstory answered {self.status}")


class _RetryableError(Exception):
    """An attempt that failed in a way that another attempt may mend.

    Attributes:
        after: Seconds that the API asked to wait, None where it did not say.
    """

    def __init__(self, reason: str, after: float | None = None) -> None:
        super().__init__(reason)
        self.after = after


def _pauses() -> Generator[float, _RetryableError, None]:
    """Pauses between attempts: full jitter over an exponential, on top of what the API asks for."""
    exponential = backoff.expo(base=2, factor=_FIRST_PAUSE, max_value=_LONGEST_PAUSE)
    next(exponential)
    error = yield 0.0
    while True:
        error = yield (error.after or 0.0) + backoff.full_jitter(next(exponential))


def _tell(details: Any) -> None:
    level = logging.WARNING if details["tries"] >= _TRIES_BEFORE_A_WARNING else logging.DEBUG
    logger.log(
        level,
        "%s; attempt %d follows in %.1f s",
        details["exception"],
        details["tries"] + 1,
        details["wait"],
    )


class _KeyAuth(AuthBase):
    """Sets the Authorization header; being an auth object it keeps requests from using netrc."""

    def __init__(self, header: str) -> None:
        self._header = header

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = self._header
        return request


def _authorization(settings: Settings) -> str:
    key = settings.bare_key or SANDBOX_KEY
    if settings.api_key_encoding == "base64":
        key = base64.b64encode(f"{key}:".encode()).decode()
    return f"Basic {key}"


SANDBOX_KEY = "sandbox"
"""The key sent where none is configured, which only the embedded sandbox accepts."""


class Client:
    """Calls the Server API; used from several threads at a time."""

    def __init__(self, settings: Settings, url: str) -> None:
        """Open a session.

        Args:
            settings: Key, time limits and name of the integration.
            url: The API's base address.
        """
        keep_addresses_out()
        self._url = url.rstrip("/")
        self._timeout = settings.request_timeout_seconds
        self._patience = settings.retry_max_seconds
        self._secrets = settings.secrets
        self._throttle = Throttle()
        self._session = requests.Session()
        # A loopback API is never behind a proxy, whatever the environment says.
        self._session.trust_env = not is_loopback(urlsplit(url).hostname or "")
        self._session.auth = _KeyAuth(_authorization(settings))
        self._session.headers.update(
            {
                "Integration-Source": settings.integration_source.strip(),
                "User-Agent": "target-fullstory",
                "Accept": "application/json",
            }
        )
        adapter = HTTPAdapter(pool_maxsize=settings.concurrency + 2)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def call(
        self,
        method: str,
        path: str,
        body: bytes | BatchBody | None = None,
        *,
        key: str | None = None,
        params: Mapping[str, str] | None = None,
        name: str | None = None,
        content: Content = "object",
        redirects: bool = False,
    ) -> Answer:
        """Call the API, with retries on 408, 409, 429, 500 and above, time-outs and broken connections.

        Args:
            method: The HTTP method.
            path: The path on the API's host, with its leading slash.
            body: The JSON body.
            key: The `Idempotency-Key`, kept over all attempts. It is renewed only where a plain 500 is
                answered twice with the same body, which means that Fullstory has kept it for the key.
            params: Query parameters.
            name: What errors call the path, where it may hold a record's values.
            content: What a 2xx has to have for a body; with any other it is tried again.
            redirects: Whether a redirect is an answer to this request; else the address is wrong.

        Returns:
            The answer: 2xx, a 4xx that concerns this request alone, or a redirect, which is not followed.

        Raises:
            DeliveryError: The key is refused, the address is wrong, or the time for retries is over.
        """
        deadline = time.monotonic() + self._patience
        call = _Call(method, path, body, params, f"{method} {name or path}", content, redirects)
        attempts = _Attempts(key)

        @backoff.on_exception(
            _pauses,
            _RetryableError,
            max_time=self._patience,
            jitter=None,
            on_backoff=_tell,
            logger=None,
        )
        def attempt() -> Answer:
            if not self._throttle.wait(deadline):
                raise DeliveryError(
                    f"Fullstory asks to wait longer than {self._patience:g} s (retry_max_seconds). What was "
                    "accepted before is checkpointed; run again later."
                )
            return self._attempt(call, attempts)

        try:
            return attempt()
        except _RetryableError as error:
            raise DeliveryError(
                f"{call.name} failed for {self._patience:g} s (retry_max_seconds): {error}. What "
                "was accepted before is checkpointed; run again when Fullstory answers."
            ) from None

    def _attempt(self, call: _Call, attempts: _Attempts) -> Answer:
        headers = {"Content-Type": "application/json"} if call.body is not None else {}
        if attempts.key is not None:
            headers["Idempotency-Key"] = attempts.key
        try:
            with self._session.request(
                call.method,
                self._url + call.path,
                data=call.body,
                params=call.params,
                headers=headers,
                timeout=self._timeout,
                allow_redirects=False,
                stream=True,
            ) as response:
                content = _read(response, time.monotonic() + self._timeout)
        except _TROUBLE as error:
            attempts.uncertain = True
            raise _RetryableError(f"no answer ({type(error).__name__})") from None
        except requests.RequestException as error:
            raise DeliveryError(
                f"{call.name} cannot be sent ({type(error).__name__}). Check the setting api_url."
            ) from None
        return self._judge(call, response, content, attempts)

    def _judge(
        self, call: _Call, response: requests.Response, content: bytes, attempts: _Attempts
    ) -> Answer:
        status = response.status_code
        if status in {408, 409, 429} or status >= 500:
            attempts.uncertain |= status not in {409, 429}
            if status == 500:
                attempts.answered_500(content)
            after = retry_after(response.headers.get("Retry-After"))
            if status in {429, 503}:
                # The gate holds everything back for so long; only the jitter is left to wait here.
                self._throttle.close(after if after is not None else _FIRST_PAUSE)
                after = None
            raise _RetryableError(f"Fullstory answered {status}", after)
        if status in {401, 403}:
            raise DeliveryError(_refusal(status, call))
        if 300 <= status < 400 and not call.redirects:
            raise DeliveryError(
                f"{call.name} was answered with a redirect ({status}), which is not followed. Set "
                "api_url to the API's own address."
            )
        for secret in self._secrets:
            # A proxy may echo the headers it got.
            content = content.replace(secret.encode(), b"****")
        data = _json_object(content)
        if data is None:
            if status < 300 and not _is_enough(content, call.content):
                attempts.uncertain = True
                wanted = "a JSON object" if call.content == "object" else "JSON"
                raise _RetryableError(f"the answer ({status}) is not {wanted}")
            data = {}
        return Answer(status, data, attempts.uncertain)


@dataclass(frozen=True)
class _Call:
    """One call, as all its attempts make it; `name` is what errors call it."""

    method: str
    path: str
    body: bytes | BatchBody | None
    params: Mapping[str, str] | None
    name: str
    content: Content
    redirects: bool


class _Attempts:
    """The idempotency key over the attempts of one call, and whether one got no clear answer."""

    def __init__(self, key: str | None) -> None:
        self._base = key
        self.key = key
        self.uncertain = False
        self._last_500: bytes | None = None
        self._same_500 = 0
        self._renewals = 0

    def answered_500(self, content: bytes) -> None:
        """Renew the key where the same plain 500 came twice: it is the kept answer of a failed request.

        The new key is derived, so that a replay after a crash goes through the same keys.
        """
        self._same_500 = self._same_500 + 1 if content == self._last_500 else 1
        self._last_500 = content
        if self._base is not None and self._same_500 >= _KEPT_500_AFTER:
            self._renewals += 1
            self.key = f"{self._base}-{self._renewals}"
            self._same_500 = 0
            self._last_500 = None


def _read(response: requests.Response, deadline: float) -> bytes:
    content = bytearray()
    for part in response.iter_content(65536):
        content += part
        if time.monotonic() > deadline or len(content) > _LARGEST_ANSWER:
            raise requests.Timeout("the answer does not end")
    return bytes(content)


def _json_object(content: bytes) -> dict[str, Any] | None:
    try:
        data = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return data if isinstance(data, dict) else None


def _is_enough(content: bytes, wanted: Content) -> bool:
    """Whether a body that is no JSON object will do."""
    if wanted != "json":
        return wanted == "any"
    try:
        msgspec.json.decode(content.strip() or b"null")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _refusal(status: int, call: _Call) -> str:
    if status == 401:
        return (
            "Fullstory does not accept the API key (401). Check the setting api_key, and "
            "api_key_encoding if the key is right."
        )
    if call.method == "GET" and "/batch/" in call.name:
        return (
            "The API key may not read batch jobs (403): that takes an Admin or Architect key. Use such "
            "a key, or set delivery to single, or wait_for_jobs to false."
        )
    return (
        f"The API key's role does not allow {call.name} (403). Use a Standard, Admin or Architect key of "
        "the organisation to write, an Admin or Architect key for webhook endpoints, an Architect key to "
        "delete users."
    )
