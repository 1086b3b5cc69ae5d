"""Whose the API key is: asked once a run, in a thread of its own, so that no request waits for it."""

from __future__ import annotations

import hashlib
import threading
import time

import msgspec

from target_fullstory.accounting.destination import Destination
from target_fullstory.api.client import Client, with_retry_limit
from target_fullstory.errors import ConfigurationError, DeliveryError, TargetFullstoryError
from target_fullstory.logs import logger
from target_fullstory.settings.addresses import normalized
from target_fullstory.settings.model import SANDBOX, Settings

_RETRY_SECONDS = 10.0
_FINGERPRINT_BYTES = 6


class Account(msgspec.Struct, frozen=True):
    """What `GET /me` says of a key, empty where it does not; unknown roles are possible."""

    organization: str
    email: str
    role: str


def who_am_i(client: Client) -> Account:
    """Ask whose key it is; raises a TargetFullstoryError where no response says so."""
    response = client.call("GET", "/me")
    me = response.data
    role = me.get("role")
    if not response.ok or not isinstance(role, str):
        reason = response.code if not response.ok else "no role"
        raise ConfigurationError(
            f"GET /me was answered with {response.status} ({reason}), so the key's role is not known. Check "
            "the setting api_url."
        )
    return Account(str(me.get("orgId") or ""), str(me.get("email") or ""), role)


def briefly(settings: Settings) -> Settings:
    """The settings for a client that does not try for long."""
    return with_retry_limit(settings, _RETRY_SECONDS)


class KeyAccount:
    """The account of a run's API key. Used by several threads."""

    def __init__(self, settings: Settings, client: Client) -> None:
        """Take a client of its own, made with `briefly`."""
        self._client = client
        self._address = normalized(settings.api_url)
        self._lock = threading.Lock()
        self._asked_until: float | None = None
        self._answered = threading.Event()
        self._account: Account | None = None
        self.error: TargetFullstoryError | None = None  # why it is not known
        key = settings.bare_key
        # Tells two keys apart, and tells nothing of either.
        digest = hashlib.blake2b(key.encode(), key=b"target-fullstory", digest_size=_FINGERPRINT_BYTES)
        self.fingerprint = f"key:{digest.hexdigest()}" if key else None

    def ask(self) -> None:
        """Begin to ask, if nobody has."""
        if self._asked_until is not None:
            return
        with self._lock:
            if self._asked_until is None:
                self._asked_until = time.monotonic() + 2 * _RETRY_SECONDS
                threading.Thread(target=self._ask, name="me", daemon=True).start()

    def _ask(self) -> None:
        try:
            self._account = who_am_i(self._client)
        except TargetFullstoryError as error:
            self.error = error
        except Exception as error:  # noqa: BLE001 - of a thread of its own; the run can do without the answer
            logger.debug("GET /me failed unexpectedly", exc_info=True)
            self.error = ConfigurationError(f"GET /me failed unexpectedly ({type(error).__name__}).")
        finally:
            self._answered.set()
            self._client.close()

    def get(self) -> Account | None:
        """The account, once the answer is there; None where it is not known."""
        self.ask()
        self.wait()
        return self._account

    def wait(self) -> None:
        """Wait for the answer, where it was asked for."""
        if self._asked_until is not None:
            self._answered.wait(max(0.0, self._asked_until - time.monotonic()))

    def ask_organization(self) -> str | None:
        """The organization's id, once the answer is there; None where it is not known."""
        self.get()
        return self.known_organization

    @property
    def known_organization(self) -> str | None:
        """The organization's id as far as it is known by now."""
        return self._account.organization or None if self._account else None

    def certain_destination(self) -> Destination:
        """Where the run sends, for what is kept from run to run.

        The key's fingerprint stands for an organization that the API does not tell of the key; none for that
        of the embedded sandbox.

        Raises:
            TargetFullstoryError: The API cannot be asked now. Its answer might be another destination.
        """
        if self._address == SANDBOX:
            return Destination(SANDBOX)
        if self.get() is None and not isinstance(self.error, ConfigurationError):
            raise self.error or DeliveryError(
                "GET /me was not answered in time, so it is not known what was sent to its organization. Try "
                "again."
            )
        return Destination(self._address, self.known_organization or self.fingerprint)

    def destination(self) -> Destination:
        """Where the run sends, as far as it is known by now.

        The key's fingerprint stands for an organization that is not told.
        """
        if self._asked_until is not None and not self._answered.is_set():
            return Destination(self._address)
        return Destination(self._address, self.known_organization or self.fingerprint)
