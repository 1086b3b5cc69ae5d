"""Configuration errors of a mapping: which key, what is wrong, the nearest valid name."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from target_fullstory.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable


def mistake(stream: str, key: str, problem: str) -> ConfigurationError:
    """An error that names the mapping's key, such as `streams.customers.fields.email`."""
    return ConfigurationError(f"streams.{stream}.{key}: {problem}")


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """Asks for the valid name nearest to a mistaken one; tells all of them where none is near."""
    names = list(valid)
    by_folded = {candidate.casefold(): candidate for candidate in reversed(names)}
    close = get_close_matches(name.casefold(), by_folded, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {by_folded[close[0]]!r}?"
    shown = ", ".join(repr(candidate) for candidate in names[:20])
    return f"; there is {shown}{', …' if len(names) > 20 else ''}" if shown else ""
