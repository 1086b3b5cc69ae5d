"""What the snapshot's store says of itself and of its streams."""

from __future__ import annotations

from typing import Final

import msgspec

from target_fullstory.accounting.destination import Destination
from target_fullstory.snapshot.snapshot_files import StoreUnusableError

VERSION: Final = 1

NOT_ENTERED: Final = 0xFFFF
"""The number of a stream that is not in the file yet: no row begins with it."""

FEWEST_BITS: Final = 8
"""Of a key, that name its bucket."""


class StreamFacts(msgspec.Struct, kw_only=True):
    """What the store says of a stream; times are ISO 8601 in UTC."""

    number: int
    kind: str
    rows: int = 0  # users or events that are known
    scope: str = ""  # of the fingerprints in `records`: that of the mapping and the SCHEMA
    since: str = ""  # when the first was entered
    loaded: str = ""  # when the latest was
    bits: int = FEWEST_BITS  # of a key that name its bucket
    first_day: int = 0  # of the events that are known
    mirror: bool = False  # whether the names of users are kept as well
    named: bool = False  # whether those of all users are
    # By the tap's stream, the version of a table whose read has begun and was not complete so far.
    reading: dict[str, str] = {}
    sources: list[str] = []  # the tap's streams that have brought a mirror's users


class _Version(msgspec.Struct):
    version: int


class About(msgspec.Struct, kw_only=True):
    """What the store says of itself."""

    version: int
    seed: int
    destination: Destination
    streams: dict[str, StreamFacts] = {}


def read_about(about: bytes) -> About:
    """Decode it.

    Raises:
        StoreUnusableError: It is damaged, or of another version.
    """
    try:
        version = msgspec.json.decode(about, type=_Version).version
        if version != VERSION:
            problem = f"it is of version {version}, this target's is {VERSION}"
            raise StoreUnusableError(problem, version=version)
        return msgspec.json.decode(about, type=About)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise StoreUnusableError("it is damaged") from None
