"""The client of the Server API: one call with its retries, up to its final response."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

import msgspec

from target_fullstory.api.network_errors import NoResponseError, NotSendableError
from target_fullstory.api.renewed_keys import RenewedKeys
from target_fullstory.api.responses import Content, Response, flaw, json_object, raise_refusal
from target_fullstory.api.retry import RETRYABLE, Attempts, Throttle
from target_fullstory.api.transport import Body, HttpRequest, HttpResponse, HttpTransport, Transport
from target_fullstory.errors import DeliveryError
from target_fullstory.settings.masking import Mask
from target_fullstory.settings.model import Settings

_IN_A_LOAD = "What was accepted before is checkpointed; run again when Fullstory answers."


def with_retry_limit(settings: Settings, seconds: float) -> Settings:
    """The settings for a client that retries no call for longer than so many seconds."""
    return msgspec.structs.replace(
        settings,
        retry_max_seconds=min(settings.retry_max_seconds, seconds),
        request_timeout_seconds=min(settings.request_timeout_seconds, seconds),
    )


class Client:
    """Calls the Server API; used from several threads at a time."""

    def __init__(
        self, settings: Settings, url: str, transport: Transport | None = None, *, advice: str = _IN_A_LOAD
    ) -> None:
        """Prepare calls; the `advice` says what to do where Fullstory does not answer."""
        self._url = url.rstrip("/")
        self._host = urlsplit(url).hostname
        self._attempt_seconds = settings.request_timeout_seconds
        self._transport = transport or HttpTransport(settings, url)
        self._retry_seconds = settings.retry_max_seconds
        self._mask = Mask(settings.secrets)
        self._throttle = Throttle()
        self._renewed = RenewedKeys(settings.output_dir)
        self._advice = advice
        # Called with each attempt: the call's name in errors, the status or None, the seconds it took.
        self.on_attempt: Callable[[str, int | None, float], None] = lambda *_: None

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def call(
        self,
        method: str,
        path: str,
        body: Body | None = None,
        *,
        key: str | None = None,
        params: Mapping[str, str] | None = None,
        name: str | None = None,
        content: Content = "object",
        holds: str = "",
        redirects: bool = False,
    ) -> Response:
        """Call the API and retry; returns 2xx, a 4xx that concerns this request alone, or a redirect.

        `key` is the `Idempotency-Key` of all attempts, until Fullstory keeps a plain 500 for it. `name` takes
        the place of the path in errors, where that may hold a record's values. A 2xx without the wanted
        `content`, or without the value that it `holds` at a path such as `job.id`, is no answer of the API's
        and is retried. A redirect is never followed; without `redirects`, the address is wrong.

        Raises:
            DeliveryError: The key is refused, the address is wrong, or the time for retries is over.
        """
        name = f"{method} {name or path}"
        # A replay repeats the keys that it is given, never those made here.
        renewed = self._renewed if key is not None else None
        if key is None and method == "POST":
            key = str(uuid.uuid4())
        attempts = Attempts(self._throttle, self._retry_seconds, key, renewed, self._advice)

        def attempt(seconds: float) -> Response:
            headers = {"Content-Type": "application/json"} if body is not None else {}
            if attempts.key is not None:
                headers["Idempotency-Key"] = attempts.key
            seconds = min(seconds, self._attempt_seconds)
            request = HttpRequest(method, self._url + path, body, headers, params, seconds)
            try:
                response = self._send(name, request)
            except NoResponseError as error:
                raise attempts.unanswered(name, error) from None
            except NotSendableError as error:
                raise DeliveryError(
                    f"{name} cannot be sent ({error}). Check the setting api_url, and HTTPS_PROXY where the "
                    "environment names a proxy."
                ) from None
            if response.status in RETRYABLE:
                raise attempts.refused(response)
            raise_refusal(response.status, name, redirects=redirects)
            data = json_object(response.content)
            if response.status < 300 and (wrong := flaw(response, data, content, holds)):
                raise attempts.unclear(
                    f"{self._host} answered {response.status} {wrong}, which cannot be the Server API's "
                    "answer; check the setting api_url, and for a proxy or a login page in between"
                )
            if data and self._mask.may_be_in(response.content):  # a proxy may echo the headers it got
                data = self._mask.data(data)
            return Response(response.status, data or {}, attempts.uncertain)

        return attempts.run(name, attempt)

    def _send(self, name: str, request: HttpRequest) -> HttpResponse:
        began, status = time.monotonic(), None
        try:
            response = self._transport.send(request)
            status = response.status
        finally:
            self.on_attempt(name, status, time.monotonic() - began)
        return response
