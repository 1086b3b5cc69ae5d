"""What a run delivers to Fullstory with: dispatcher, jobs, the embedded sandbox, the response webhook."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from target_fullstory.accounting.run_accounting import Accounting
from target_fullstory.api.client import Client
from target_fullstory.api.embedded_sandbox import start_sandbox
from target_fullstory.api.roles import RoleCheck
from target_fullstory.kinds import Kind
from target_fullstory.logs import logger
from target_fullstory.sending.dispatcher import Dispatcher
from target_fullstory.sending.in_flight import InFlight
from target_fullstory.sending.job_journal import JobJournal
from target_fullstory.sending.job_tracker import JobTracker
from target_fullstory.settings.model import SANDBOX, Settings

if TYPE_CHECKING:
    from target_fullstory.webhook.webhook_delivery import WebhookDelivery

_WEBHOOK_GRACE_SECONDS = 5.0
_WEBHOOK_GRACE_IN_A_HURRY_SECONDS = 1.0


class FullstoryDelivery:
    """Sends to Fullstory, and keeps the run's books on disk."""

    def __init__(self, settings: Settings, run_id: str, key_salt: str) -> None:
        """Start the embedded sandbox where `api_url` says so, and take over the jobs of killed runs."""
        self._settings = settings
        self._sandbox = start_sandbox(settings) if settings.api_url == SANDBOX else None
        url = self._sandbox.url if self._sandbox else settings.api_url
        self._webhook = _webhook(settings, run_id)
        on_response = self._webhook.on_response if self._webhook else None
        self.accounting = Accounting(settings, run_id, on_response=on_response)
        self.in_flight = InFlight(settings)
        self._client = Client(settings, url)
        journal = JobJournal(settings.output_dir, run_id, settings.api_url)
        self._jobs = JobTracker(
            settings,
            self._client,
            self.accounting.ledger,
            self.accounting.rejects,
            self.in_flight,
            journal if settings.wait_for_jobs else None,
        )
        self.dispatcher = Dispatcher(
            settings, self._client, self._jobs, self.in_flight, self.accounting, key_salt
        )
        self._role_check = RoleCheck(settings, url)

    def require(self, stream: str, kind: Kind) -> None:
        """Raise a ConfigurationError where the API key's role surely does not allow a stream's kind."""
        self._role_check.require(stream, kind)

    def stop_sending(self) -> None:
        """Wait for the requests in flight and end the threads."""
        self.dispatcher.close()
        self._jobs.close()
        self._client.close()

    def close(self, *, in_a_hurry: bool) -> dict[str, Any]:
        """End webhook and sandbox; returns what the run report tells of the webhook."""
        report: dict[str, Any] = {}
        if self._webhook is not None:
            hurry, calm = _WEBHOOK_GRACE_IN_A_HURRY_SECONDS, _WEBHOOK_GRACE_SECONDS
            report["response_webhook"] = self._webhook.close(hurry if in_a_hurry else calm)
        if self._sandbox is not None:
            counts = self._sandbox.counts()
            logger.info(
                "The sandbox (%s) holds %d users, %d events, %d jobs",
                Path(self._settings.output_dir) / "sandbox.db",
                counts["users"],
                counts["events"],
                counts["jobs"],
            )
            self._sandbox.__exit__(None, None, None)
        return report


def _webhook(settings: Settings, run_id: str) -> WebhookDelivery | None:
    if settings.response_webhook is None:
        return None
    # Imported here: most runs have none.
    from target_fullstory.webhook.webhook_delivery import WebhookDelivery  # noqa: PLC0415

    return WebhookDelivery(settings.response_webhook, run_id)
