"""How many examples a test of hypothesis tries: a third of them in `make test`, all in `make soak`."""

from __future__ import annotations

import os

from hypothesis import settings

_SHARE = 1 if os.environ.get("EVERY_EXAMPLE") else 3


def examples(number: int) -> settings:
    """Settings for a test whose examples take long to make."""
    return settings(max_examples=number // _SHARE, deadline=None)
