"""The response webhook: each of the API's responses is delivered to it in the background.

It neither slows nor fails the load: what finds no room, is refused or is unfinished at the end is counted.
"""

from __future__ import annotations

import threading
import time
from typing import Any
from urllib.parse import urlsplit

import backoff
import msgspec
import requests

from target_fullstory.accounting.rejects import timestamp
from target_fullstory.api.network_errors import NoResponseError, NotSendableError
from target_fullstory.api.retry import retry_after
from target_fullstory.api.transport import exchange, open_session
from target_fullstory.logs import logger
from target_fullstory.settings.webhook_settings import WebhookSettings
from target_fullstory.webhook.webhook_auth import OAuth2Token, authentication
from target_fullstory.webhook.webhook_queue import Message, WebhookQueue
from target_fullstory.webhook.webhook_retry import FailedAttemptError, RetryRules, no_response, refused

_TRIES_BEFORE_A_WARNING = 3
_DEFAULT_RULES = RetryRules()


class WebhookDelivery:
    """Delivers the responses it is given, from threads of its own, which start with the first one."""

    def __init__(self, settings: WebhookSettings, run_id: str, rules: RetryRules = _DEFAULT_RULES) -> None:
        self._settings = settings
        self._run_id = run_id
        self._rules = rules
        self._queue = WebhookQueue(rules.room)
        self._auth = authentication(settings.auth, rules.timeout)
        self._session = open_session(settings.url, self._auth, pool_size=rules.threads)
        # Ours first: the user's take precedence, and the authentication, set with each request, over both.
        self._session.headers.update({"Content-Type": "application/json", **settings.headers})
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._warned = False

    def on_response(self, event: str, entry: dict[str, Any]) -> None:
        """Have a response delivered; returns at once.

        `event` is `job_created`, `job_finished` or `request`, `entry` what the state block holds of it.
        """
        if self._settings.include == "errors":
            request_failed = event == "request" and not 200 <= int(entry["status"]) < 300
            job_failed = event == "job_finished" and (entry["status"] == "FAILED" or bool(entry["errors"]))
            if not request_failed and not job_failed:
                return
        message = {"run_id": self._run_id, "at": timestamp(), "event": event, **entry}
        self._queue.put(msgspec.json.encode(message))
        if not self._threads:
            self._start_threads()

    def close(self, grace: float) -> dict[str, Any]:
        """Wait so many seconds for unfinished messages, then give up; returns what to report."""
        counts = self._queue.close(grace)
        self._session.close()
        if counts["failed"]:
            logger.warning(
                "%d of %d responses were not delivered to the response webhook (%s)",
                counts["failed"],
                counts["failed"] + counts["delivered"],
                ", ".join(f"{reason}: {count}" for reason, count in counts["reasons"].items()),
            )
        return counts

    def _start_threads(self) -> None:
        with self._lock:
            if self._threads:
                return
            self._threads = [
                threading.Thread(target=self._deliver, name=f"response-webhook-{n}", daemon=True)
                for n in range(self._rules.threads)
            ]
            for thread in self._threads:
                thread.start()

    def _deliver(self) -> None:
        while (message := self._queue.take()) is not None:
            if not message.attempts:
                message.first = time.monotonic()
            message.attempts += 1
            try:
                self._attempt(message.body)
            except FailedAttemptError as error:
                self._retry_or_count(message, error)
            except Exception as error:  # noqa: BLE001 - a thread's error must be counted, not be lost
                # Without its text, which may hold the address.
                self._retry_or_count(message, FailedAttemptError(type(error).__name__, retryable=False))
            else:
                self._queue.delivered(message)

    def _retry_or_count(self, message: Message, failure: FailedAttemptError) -> None:
        message.reason = failure.reason
        pause = failure.after + backoff.full_jitter(self._rules.longest_pause_after(message.attempts))
        seconds = time.monotonic() + pause - message.first
        again = failure.retryable and self._rules.allow_retry(message.attempts, seconds)
        counts = self._queue.failed(message, retry_in=pause if again else None)
        if counts and (not again or message.attempts >= _TRIES_BEFORE_A_WARNING):
            with self._lock:
                warned, self._warned = self._warned, True
            if not warned:
                logger.warning(
                    "The response webhook at %s does not take a response (%s); the load goes on. Check the "
                    "setting response_webhook",
                    urlsplit(self._settings.url).hostname,
                    failure.reason,
                )

    def _attempt(self, body: bytes) -> None:
        """Send a message; raises a FailedAttemptError where it is not delivered."""
        try:
            status, after, request = self._send(body)
            if status == 401 and isinstance(self._auth, OAuth2Token):
                self._auth.forget(request)
                status, after, _ = self._send(body)
        except (NoResponseError, NotSendableError) as error:
            raise no_response(error) from None
        if not 200 <= status < 300:
            raise refused(status, after)

    def _send(self, body: bytes) -> tuple[int, float | None, requests.PreparedRequest]:
        response, _ = exchange(
            self._session,
            self._settings.method,
            self._settings.url,
            seconds=self._rules.timeout,
            largest=None,
            data=body,
        )
        return response.status_code, retry_after(response.headers), response.request
