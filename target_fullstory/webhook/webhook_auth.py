"""How requests to the response webhook authenticate: one class for each kind, and the sessions they need."""

from __future__ import annotations

import base64
import hashlib
import hmac
import threading
import time
from typing import Any
from urllib.parse import quote_plus, urlencode, urlsplit

import msgspec
import requests
from requests.auth import AuthBase

from target_fullstory.api.retry import retry_after
from target_fullstory.settings.addresses import is_loopback
from target_fullstory.settings.webhook_settings import (
    ApiKeyAuth,
    Auth,
    BasicAuth,
    BearerAuth,
    HmacAuth,
    OAuth2Auth,
)

RETRYABLE = frozenset({302, 303, 307, 429, *range(500, 600)})
"""Statuses after which an attempt is repeated, as Fullstory's Streams do; any other one is final."""

_LARGEST_TOKEN_ANSWER = 64 * 1024
_RENEW_BEFORE = 0.1
_LONGEST_RENEW_BEFORE = 30.0
_REFUSED_FOR = 60.0


class Authentication(AuthBase):
    """None at all. Being an auth object, it keeps requests from looking for credentials in `~/.netrc`."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add what authenticates the request."""
        return request

    def renew(self, refused: requests.PreparedRequest) -> bool:  # noqa: ARG002
        """Whether a request refused with a 401 may be sent once more, authenticated anew."""
        return False


class _Header(Authentication):
    """A header that is always the same."""

    def __init__(self, name: str, value: str) -> None:
        self._name, self._value = name, value

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers[self._name] = self._value
        return request


class _Query(Authentication):
    """A query parameter."""

    def __init__(self, name: str, value: str) -> None:
        self._parameter = {name: value}

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.prepare_url(request.url, self._parameter)
        return request


class _Hmac(Authentication):
    """A signature of the body."""

    def __init__(self, header: str, secret: str) -> None:
        self._header, self._secret = header, secret.encode()

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        body = request.body if isinstance(request.body, bytes) else b""
        signature = hmac.new(self._secret, body, hashlib.sha256)
        request.headers[self._header] = signature.hexdigest()
        return request


class TokenError(Exception):
    """No token could be had.

    Attributes:
        trouble: What happened, such as `token_http_401`.
        retryable: Whether another attempt may mend it.
        after: Seconds that the token endpoint asked to wait, None where it did not say.
    """

    def __init__(self, trouble: str, *, retryable: bool, after: float | None = None) -> None:
        super().__init__(trouble)
        self.trouble = f"token_{trouble}"
        self.retryable = retryable
        self.after = after


class _OAuth2(Authentication):
    """A token of the client credentials grant, kept until it expires; used from several threads."""

    def __init__(self, auth: OAuth2Auth, timeout: float) -> None:
        self._auth = auth
        self._timeout = timeout
        self._session = open_session(auth.token_url, Authentication())
        self._lock = threading.Lock()
        self._token: str | None = None
        self._good_until: float | None = None
        self._refusal: TokenError | None = None
        self._ask_again_at = 0.0

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        with self._lock:
            expired = self._good_until is not None and time.monotonic() >= self._good_until
            if self._token is None or expired:
                self._renew_token()
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request

    def renew(self, refused: requests.PreparedRequest) -> bool:
        with self._lock:
            # Another thread may have renewed it meanwhile.
            if refused.headers.get("Authorization") == f"Bearer {self._token}":
                self._token = None
        return True

    def _renew_token(self) -> None:
        if self._refusal is not None and time.monotonic() < self._ask_again_at:
            raise self._refusal
        self._refusal = None
        try:
            self._fetch()
        except TokenError as error:
            if not error.retryable:
                # Asking for each message would look like somebody guessing the secret.
                self._refusal, self._ask_again_at = error, time.monotonic() + _REFUSED_FOR
            raise

    def _fetch(self) -> None:
        began = time.monotonic()
        status, content, after = self._ask(in_body=False)
        if status in {400, 401}:
            # Not every server knows credentials in a header, though the standard says so.
            status, content, after = self._ask(in_body=True)
        if not 200 <= status < 300:
            raise TokenError(f"http_{status}", retryable=status in RETRYABLE, after=after)
        try:
            answer = msgspec.json.decode(content)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            answer = None
        token = answer.get("access_token") if isinstance(answer, dict) else None
        if not (isinstance(token, str) and token and token.isascii() and token.isprintable()):
            raise TokenError("invalid", retryable=False)
        seconds = _seconds(answer.get("expires_in"))
        self._token = token
        self._good_until = None
        if seconds is not None:
            early = min(seconds * _RENEW_BEFORE, _LONGEST_RENEW_BEFORE)
            self._good_until = began + seconds - early

    def _ask(self, *, in_body: bool) -> tuple[int, bytes, float | None]:
        form = {"grant_type": "client_credentials"}
        if self._auth.scopes:
            form["scope"] = " ".join(self._auth.scopes)
        client = self._auth.client_id, self._auth.client_secret
        if in_body:
            form["client_id"], form["client_secret"] = client
            auth = Authentication()
        else:
            auth = _basic(*(quote_plus(part) for part in client))
        try:
            with self._session.post(
                self._auth.token_url,
                data=urlencode(form).encode(),
                headers={
                    "Content-Type": "application/x-www-form-urlencoded",
                    "Accept": "application/json",
                },
                auth=auth,
                timeout=self._timeout,
                allow_redirects=False,
                stream=True,
            ) as response:
                after = retry_after(response.headers.get("Retry-After"))
                content = read_small(response, _LARGEST_TOKEN_ANSWER, self._timeout)
                return response.status_code, content, after
        except requests.RequestException as error:
            raise TokenError(trouble_of(error), retryable=is_network(error)) from None


def authentication(auth: Auth | None, timeout: float) -> Authentication:
    """What authenticates requests as the setting says.

    Args:
        auth: The setting `response_webhook.auth`.
        timeout: Time limit of a request for a token, in seconds.
    """
    made: Authentication
    match auth:
        case None:
            made = Authentication()
        case BasicAuth():
            made = _basic(auth.username, auth.password)
        case BearerAuth():
            made = _Header("Authorization", f"Bearer {auth.token}")
        case ApiKeyAuth(place="header"):
            made = _Header(auth.name, auth.value)
        case ApiKeyAuth():
            made = _Query(auth.name, auth.value)
        case HmacAuth():
            made = _Hmac(auth.header, auth.secret)
        case OAuth2Auth():
            made = _OAuth2(auth, timeout)
    return made


def open_session(url: str, auth: Authentication) -> requests.Session:
    """A session for one address, which is never behind a proxy where it is on this machine."""
    session = requests.Session()
    session.trust_env = not is_loopback(urlsplit(url).hostname or "")
    session.auth = auth
    session.headers["User-Agent"] = "target-fullstory"
    return session


def read_small(response: requests.Response, limit: int, seconds: float) -> bytes:
    """Read an answer's body.

    Args:
        response: The answer, not read yet.
        limit: The most bytes.
        seconds: Time limit.

    Returns:
        The body.

    Raises:
        requests.RequestException: It is longer, takes longer, or breaks off.
    """
    deadline = time.monotonic() + seconds
    content = bytearray()
    # Byte by byte: a larger read waits for ever where a body drips.
    for byte in response.iter_content(1):
        content += byte
        if len(content) > limit or time.monotonic() > deadline:
            raise requests.Timeout("the answer does not end")
    return bytes(content)


def is_network(error: requests.RequestException) -> bool:
    """Whether an error is the network's, so that another attempt may do better."""
    return isinstance(error, requests.Timeout | requests.ConnectionError | _BROKEN)


def trouble_of(error: requests.RequestException) -> str:
    """A short name of an error, without its text, which holds the address."""
    if isinstance(error, requests.Timeout):
        return "timeout"
    return "connection_error" if is_network(error) else type(error).__name__


_BROKEN = requests.exceptions.ChunkedEncodingError | requests.exceptions.ContentDecodingError


def _basic(name: str, password: str) -> Authentication:
    pair = base64.b64encode(f"{name}:{password}".encode()).decode()
    return _Header("Authorization", f"Basic {pair}")


def _seconds(value: Any) -> float | None:
    """A token's lifetime, given as a number or as text; None where it makes no sense."""
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        return None
    return seconds if 0 < seconds < float("inf") else None
