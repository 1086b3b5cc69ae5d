"""Why an HTTP exchange failed, in words that hold nothing of its address but the host."""

from __future__ import annotations

import http.client
import os
import re
import socket
import ssl
from collections.abc import Iterator
from typing import Literal

import requests
import urllib3.exceptions

_NETWORK = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.ContentDecodingError,
)
_OF_THE_REQUEST = (requests.RequestException, ValueError)  # a wrong address, header or proxy
_REASONS: list[tuple[type[BaseException], str]] = [
    (ssl.SSLEOFError, "cut the connection off"),
    (ssl.SSLZeroReturnError, "cut the connection off"),
    (socket.gaierror, "cannot be found (its name is not known)"),
    (http.client.RemoteDisconnected, "closed the connection without a whole answer"),
    (ConnectionRefusedError, "refuses the connection"),
    (ConnectionResetError, "reset the connection"),
    (BrokenPipeError, "reset the connection"),
]
_CUT_OFF = "UNEXPECTED_EOF_WHILE_READING"
_NO_TLS = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE"})
_TUNNEL = re.compile(r"Tunnel connection failed: (\d{3})\b")


class NoResponseError(Exception):
    """The network failed before a whole response was there; the request may have been carried out."""

    def __init__(
        self, reason: str, kind: Literal["timeout", "connection_error", "tls_error"] = "connection_error"
    ) -> None:
        super().__init__(reason)
        self.kind = kind


class NotSendableError(Exception):
    """The request cannot be sent at all, now or later."""


def failed_exchange(
    error: Exception, host: str, *, timed_out: bool, sent: bool
) -> NoResponseError | NotSendableError:
    """What an error of requests means; once the request was `sent`, the answer alone is to blame."""
    causes = list(_causes(error))
    if not sent and not isinstance(error, _NETWORK) and isinstance(error, _OF_THE_REQUEST):
        return NotSendableError(type(error).__name__)
    by_proxy = any(isinstance(cause, urllib3.exceptions.ProxyError) for cause in causes)
    peer = f"the proxy of the environment, on the way to {host}," if by_proxy else host
    if timed_out or any(_is_timeout(cause) for cause in causes):
        return NoResponseError(f"{peer} did not answer in time", "timeout")
    if reason := next(filter(None, map(_reason, causes)), None):
        return NoResponseError(f"{peer} {reason}")
    if trouble := next(filter(None, map(_tls_trouble, causes)), None):
        return NoResponseError(f"{host} {trouble}", "connection_error" if sent else "tls_error")
    what = "cut its answer off, or it is malformed" if sent else "gave no answer"
    return NoResponseError(f"{peer} {what} ({type(causes[-1]).__name__})")


def _is_timeout(cause: BaseException) -> bool:
    if isinstance(cause, urllib3.exceptions.NewConnectionError):
        return False  # in spite of its base class
    return isinstance(cause, requests.Timeout | TimeoutError | urllib3.exceptions.TimeoutError)


def _reason(cause: BaseException) -> str | None:
    """What an error says of the peer; None where another of the chain may say it better."""
    for kind, reason in _REASONS:
        if isinstance(cause, kind):
            return reason
    if isinstance(cause, ssl.SSLError):
        return _REASONS[0][1] if cause.reason == _CUT_OFF else None
    if isinstance(cause, OSError) and not isinstance(cause, requests.RequestException):
        if tunnel := _TUNNEL.search(str(cause)):
            return f"opened no tunnel ({tunnel[1]})"
        if cause.errno is not None:
            return f"cannot be reached ({os.strerror(cause.errno)})"
    return None


def _tls_trouble(cause: BaseException) -> str | None:
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"has a certificate that is refused: {cause.verify_message}"
    if isinstance(cause, ssl.SSLError):
        hint = "; does it speak https on that port?" if cause.reason in _NO_TLS else ""
        return f"and this machine agree on no TLS ({cause.reason or 'no reason given'}){hint}"
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The errors behind an error, the innermost last; each library keeps them in a place of its own."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        found = waiting.pop(0)
        if id(found) in seen:
            continue
        seen.add(id(found))
        yield found
        inner = (found.__cause__, found.__context__, getattr(found, "reason", None), *found.args)
        waiting += [one for one in inner if isinstance(one, BaseException)]
