"""How requests to the response webhook authenticate, by the setting `response_webhook.auth`."""

from __future__ import annotations

import base64
import hashlib
import hmac
import threading
import time
from typing import Any
from urllib.parse import quote_plus, urlencode

import requests

from target_fullstory.api.network_errors import NoResponseError, NotSendableError
from target_fullstory.api.responses import json_object
from target_fullstory.api.retry import retry_after
from target_fullstory.api.transport import Authenticate, exchange, header_auth, open_session
from target_fullstory.settings import webhook_settings
from target_fullstory.webhook.webhook_retry import FailedAttemptError, no_response, refused

_LARGEST_TOKEN_RESPONSE = 64 * 1024
_RENEW_BEFORE = 0.1
_LONGEST_RENEW_BEFORE = 30.0
_REFUSED_FOR = 60.0


def authentication(auth: webhook_settings.Auth | None, timeout: float) -> Authenticate:
    """What authenticates requests; a request for a token takes at most `timeout` seconds."""
    match auth:
        case None:
            return _no_auth
        case webhook_settings.BasicAuth():
            return _basic(auth.username, auth.password)
        case webhook_settings.BearerAuth():
            return header_auth("Authorization", f"Bearer {auth.token}")
        case webhook_settings.ApiKeyAuth():
            place = header_auth if auth.place == "header" else _query
            return place(auth.name, auth.value)
        case webhook_settings.HmacAuth():
            return _hmac(auth.header, auth.secret)
        case webhook_settings.OAuth2Auth():
            return OAuth2Token(auth, timeout)


def _no_auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _basic(name: str, password: str) -> Authenticate:
    pair = base64.b64encode(f"{name}:{password}".encode()).decode()
    return header_auth("Authorization", f"Basic {pair}")


def _query(name: str, value: str) -> Authenticate:
    def authenticate(request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.prepare_url(request.url, {name: value})
        return request

    return authenticate


def _hmac(header: str, secret: str) -> Authenticate:
    def authenticate(request: requests.PreparedRequest) -> requests.PreparedRequest:
        body = request.body if isinstance(request.body, bytes) else b""
        request.headers[header] = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        return request

    return authenticate


class OAuth2Token:
    """A token of the client credentials grant, kept until it expires; used from several threads."""

    def __init__(self, auth: webhook_settings.OAuth2Auth, timeout: float) -> None:
        self._auth = auth
        self._timeout = timeout
        self._session = open_session(auth.token_url, _no_auth)
        self._lock = threading.Lock()
        self._token: str | None = None
        self._good_until = float("inf")
        self._refusal: FailedAttemptError | None = None
        self._ask_again_at = 0.0

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Authenticate a request."""
        with self._lock:
            if self._token is None or time.monotonic() >= self._good_until:
                self._renew()
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request

    def forget(self, request: requests.PreparedRequest) -> None:
        """Fetch another token for the next request: the one of this request was refused."""
        with self._lock:
            # Another thread may have renewed it meanwhile.
            if request.headers.get("Authorization") == f"Bearer {self._token}":
                self._token = None

    def _renew(self) -> None:
        if self._refusal is not None and time.monotonic() < self._ask_again_at:
            raise self._refusal
        self._refusal = None
        try:
            self._fetch()
        except FailedAttemptError as error:
            error.reason = f"token_{error.reason}"
            if not error.retryable:
                # Asking for each message would look like an attempt to guess the secret.
                self._refusal, self._ask_again_at = error, time.monotonic() + _REFUSED_FOR
            raise

    def _fetch(self) -> None:
        began = time.monotonic()
        status, content, after = self._ask(in_body=False)
        if status in {400, 401}:
            # Not every server takes credentials in a header, though the standard demands it.
            status, content, after = self._ask(in_body=True)
        if not 200 <= status < 300:
            raise refused(status, after)
        response = json_object(content) or {}
        token = response.get("access_token")
        if not (isinstance(token, str) and token and token.isascii() and token.isprintable()):
            raise FailedAttemptError("invalid", retryable=False)
        seconds = _lifetime(response.get("expires_in"))
        self._token = token
        self._good_until = began + seconds - min(seconds * _RENEW_BEFORE, _LONGEST_RENEW_BEFORE)

    def _ask(self, *, in_body: bool) -> tuple[int, bytes, float | None]:
        form = {"grant_type": "client_credentials"}
        if self._auth.scopes:
            form["scope"] = " ".join(self._auth.scopes)
        client = self._auth.client_id, self._auth.client_secret
        if in_body:
            form["client_id"], form["client_secret"] = client
        try:
            response, content = exchange(
                self._session,
                "POST",
                self._auth.token_url,
                seconds=self._timeout,
                largest=_LARGEST_TOKEN_RESPONSE,
                data=urlencode(form).encode(),
                headers={"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"},
                auth=_no_auth if in_body else _basic(*map(quote_plus, client)),
            )
        except (NoResponseError, NotSendableError) as error:
            raise no_response(error) from None
        return response.status_code, content, retry_after(response.headers)


def _lifetime(value: Any) -> float:
    """A token's lifetime in seconds, given as a number or as text; infinite where it is neither."""
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        return float("inf")
    return seconds if seconds > 0 else float("inf")
