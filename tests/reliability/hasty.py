"""The executable with shorter pauses between the attempts of a call: for many kills at many faults.

Started as a script, with the executable's arguments. With FILE_BYTES in the environment no file may grow
larger: to the target, the disk is full.
"""

from __future__ import annotations

import os
import resource

from target_fullstory.cli import main  # isort: skip
from target_fullstory.api import retry

SHORTER = {"_FIRST_PAUSE": 0.05, "_LONGEST_PAUSE": 0.5, "KEPT_500_SECONDS": 0.5}
"""Constants of `api/retry.py`, in seconds, and what they are here."""

ROW_OF_500 = 5
"""After so many equal 500s in a row the target takes a new key."""


def shorten() -> None:
    for name, seconds in SHORTER.items():
        # One that is gone would leave the pauses as they are, unnoticed.
        assert getattr(retry, name) > seconds, name
        setattr(retry, name, seconds)


if __name__ == "__main__":
    shorten()
    if limit := int(os.environ.get("FILE_BYTES", "0")):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    main()
