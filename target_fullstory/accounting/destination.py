"""Where a run sends: what it leaves in files is for a later run to the same place."""

from __future__ import annotations

import msgspec


class Destination(msgspec.Struct, frozen=True, omit_defaults=True):
    """An organization behind an address of the Server API."""

    address: str  # normalized, see `settings.addresses`
    organization: str | None = None  # from `GET /me`, or a fingerprint of the key; None where not known

    def is_surely_not(self, other: Destination) -> bool:
        """Whether these are two places: another address, or two organizations that are both known.

        Two keys with different fingerprints may be of one organization.
        """
        known = [one.organization for one in (self, other) if one.organization]
        told = [name for name in known if not name.startswith("key:")]
        return self.address != other.address or (len(told) == 2 and told[0] != told[1])
