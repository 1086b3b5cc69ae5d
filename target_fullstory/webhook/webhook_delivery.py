"""The response webhook: each of the API's responses is delivered to it in the background.

It follows the rules of Fullstory's own Streams, and neither slows nor fails the load: what finds no room, is
refused or is unfinished at the end of the run is counted, no more.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Any
from urllib.parse import urlsplit

import backoff
import msgspec
import requests
from requests.adapters import HTTPAdapter

from target_fullstory.accounting.rejects import timestamp
from target_fullstory.api.retry import retry_after
from target_fullstory.logs import keep_addresses_out, logger
from target_fullstory.settings.webhook_settings import WebhookSettings
from target_fullstory.webhook.webhook_auth import (
    RETRYABLE,
    TokenError,
    authentication,
    is_network,
    open_session,
    read_small,
    trouble_of,
)
from target_fullstory.webhook.webhook_queue import Message, Outbox

_SMALL_ANSWER = 1024
_TRIES_BEFORE_A_WARNING = 3
_THREAD_NAME = "response-webhook"


class Rules(msgspec.Struct, frozen=True):
    """How messages are delivered; the defaults are those of Fullstory's Streams where they tell.

    Attributes:
        timeout: Time limit of an attempt, in seconds.
        retries: The most attempts after the first one.
        retry_seconds: Retries begin within so many seconds of the first attempt.
        first_pause: The longest pause before the first retry, in seconds; it doubles for each further one.
        longest_pause: The longest pause there is, in seconds.
        room: The most messages that wait.
        threads: Attempts at a time.
    """

    timeout: float = 5.0
    retries: int = 30
    retry_seconds: float = 5 * 3600.0
    first_pause: float = 0.5
    longest_pause: float = 900.0
    room: int = 10_000
    threads: int = 4

    def longest_pause_after(self, attempts: int) -> float:
        """The longest pause after so many attempts, in seconds."""
        # The exponent is bounded: a float has an end.
        return float(min(self.longest_pause, self.first_pause * 2 ** min(attempts - 1, 64)))

    def allow_retry(self, attempts: int, seconds: float) -> bool:
        """Whether another attempt may follow.

        Args:
            attempts: Those made.
            seconds: From the beginning of the first one to that of the next one.
        """
        return attempts <= self.retries and seconds <= self.retry_seconds


_STREAMS_RULES = Rules()


class _Failure(msgspec.Struct, frozen=True):
    """What came of an attempt that did not deliver."""

    trouble: str
    retryable: bool
    after: float | None = None


class Webhook:
    """Delivers what it is told, from threads of its own."""

    def __init__(
        self, settings: WebhookSettings, run_id: str, rules: Rules = _STREAMS_RULES
    ) -> None:
        """Prepare; nothing is sent and no thread is started yet.

        Args:
            settings: The setting `response_webhook`.
            run_id: Told with each message.
            rules: How messages are delivered.
        """
        self._settings = settings
        self._run_id = run_id
        self._rules = rules
        self._outbox = Outbox(rules.room)
        self._auth = authentication(settings.auth, rules.timeout)
        self._session = open_session(settings.url, self._auth)
        adapter = HTTPAdapter(pool_maxsize=rules.threads)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)
        # First ours, so that the user's take precedence; what authenticates is set later still.
        self._session.headers.update({"Content-Type": "application/json", **settings.headers})
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._warned = False
        keep_addresses_out()

    def tell(self, event: str, entry: dict[str, Any]) -> None:
        """Have a response delivered; returns at once.

        Args:
            event: `job_created`, `job_finished` or `request`.
            entry: What the state block holds of it.
        """
        if self._settings.include == "errors" and not _is_error(event, entry):
            return
        message = {"run_id": self._run_id, "at": timestamp(), "event": event, **entry}
        self._outbox.put(msgspec.json.encode(message))
        if not self._threads:
            self._start_threads()

    def close(self, grace: float) -> dict[str, Any]:
        """Wait a little for what is under way, then give up the rest.

        Args:
            grace: Seconds to wait at the most.

        Returns:
            What became of the messages, for the run report: `delivered`, `failed`, and `reasons` of the
            failures with their numbers.
        """
        tally = self._outbox.close(grace)
        self._session.close()
        if tally.failed:
            logger.warning(
                "%d of %d responses were not delivered to the response webhook (%s)",
                tally.failed,
                tally.failed + tally.delivered,
                ", ".join(f"{reason}: {count}" for reason, count in tally.reasons.items()),
            )
        return {"delivered": tally.delivered, "failed": tally.failed, "reasons": tally.reasons}

    def _start_threads(self) -> None:
        with self._lock:
            if self._threads:
                return
            self._threads = [
                threading.Thread(target=self._work, name=f"{_THREAD_NAME}-{n}", daemon=True)
                for n in range(self._rules.threads)
            ]
            for thread in self._threads:
                thread.start()

    def _work(self) -> None:
        while (message := self._outbox.take()) is not None:
            began = time.monotonic()
            if not message.attempts:
                message.first = began
            message.attempts += 1
            try:
                failure = self._attempt(message.body)
            except Exception as error:  # noqa: BLE001 - a thread's error must be counted, not be lost
                # Without its text, which may hold the address.
                failure = _Failure(type(error).__name__, retryable=False)
            if failure is None:
                self._outbox.delivered(message)
            else:
                self._take_failure(message, failure)

    def _take_failure(self, message: Message, failure: _Failure) -> None:
        message.trouble = failure.trouble
        if failure.retryable:
            longest = self._rules.longest_pause_after(message.attempts)
            pause = (failure.after or 0.0) + backoff.full_jitter(longest)
            next_attempt = time.monotonic() + pause - message.first
            if self._rules.allow_retry(message.attempts, next_attempt):
                if self._outbox.retry(message, pause) and (
                    message.attempts >= _TRIES_BEFORE_A_WARNING
                ):
                    self._warn_once(failure.trouble)
                return
        if self._outbox.failed(message):
            self._warn_once(failure.trouble)

    def _warn_once(self, trouble: str) -> None:
        with self._lock:
            warned, self._warned = self._warned, True
        if not warned:
            logger.warning(
                "The response webhook at %s does not take a response (%s); the load goes on. Check the "
                "setting response_webhook",
                urlsplit(self._settings.url).hostname,
                trouble,
            )

    def _attempt(self, body: bytes) -> _Failure | None:
        """Send a message; returns None where it is delivered."""
        try:
            status, after, request = self._send(body)
            if status == 401 and self._auth.renew(request):
                status, after, _ = self._send(body)
        except TokenError as error:
            return _Failure(error.trouble, error.retryable, error.after)
        except requests.RequestException as error:
            return _Failure(trouble_of(error), is_network(error))
        if 200 <= status < 300:
            return None
        return _Failure(f"http_{status}", status in RETRYABLE, after)

    def _send(self, body: bytes) -> tuple[int, float | None, requests.PreparedRequest]:
        with self._session.request(
            self._settings.method,
            self._settings.url,
            data=body,
            timeout=self._rules.timeout,
            allow_redirects=False,
            stream=True,
        ) as response:
            length = response.headers.get("Content-Length", "")
            if length.isdecimal() and int(length) <= _SMALL_ANSWER:
                # Read to its end, so that the connection serves again; the status has said all.
                with contextlib.suppress(requests.RequestException):
                    read_small(response, _SMALL_ANSWER, self._rules.timeout)
            after = retry_after(response.headers.get("Retry-After"))
            return response.status_code, after, response.request


def _is_error(event: str, entry: dict[str, Any]) -> bool:
    if event == "request":
        return not 200 <= int(entry["status"]) < 300
    return event == "job_finished" and (entry["status"] == "FAILED" or bool(entry["errors"]))
