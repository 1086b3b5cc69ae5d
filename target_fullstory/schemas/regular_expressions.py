"""The patterns of a SCHEMA, for an engine that no pattern can keep busy for ever.

The engine matches in linear time what can be matched so; look-around and back references stop at a limit.
It reads JSON Schema's dialect, ECMA-262; taps are often written in Python.
"""

from __future__ import annotations

import re

import jsonschema_rs

ENGINE = jsonschema_rs.FancyRegexOptions(backtrack_limit=100_000)
"""The engine's options: a few milliseconds, at the most, for one value."""

_TOKEN = re.compile(
    r"\\(?P<escape>.)|(?P<open>\[\^?\]?)|(?P<close>\])|(?P<end>\$)"
    r"|\(\?P<(?P<group>\w+)>|\{,(?P<most>\d+)\}",
    re.DOTALL,
)
_LETTERS = r"\p{L}\p{N}_"
_ESCAPES = {"w": f"[{_LETTERS}]", "W": f"[^{_LETTERS}]", "d": r"\p{Nd}", "D": r"\P{Nd}", "A": "^", "Z": "$"}
_ESCAPES_IN_BRACKETS = {"w": _LETTERS, "d": r"\p{Nd}", "D": r"\P{Nd}"}


def usable(pattern: str) -> str | None:
    """The pattern as the engine takes it; None where it does not, and neither its reading as Python's."""
    return next((one for one in (pattern, as_in_python(pattern)) if _compiles(one)), None)


def _compiles(pattern: str) -> bool:
    try:
        jsonschema_rs.Draft202012Validator({"pattern": pattern}, pattern_options=ENGINE)
    except (ValueError, TypeError):
        return False
    return True


def as_in_python(pattern: str) -> str:
    r"""The pattern as Python means it: `\d` and `\w` know all scripts, and `$` a newline at the end."""
    in_brackets = False

    def translated(token: re.Match[str]) -> str:
        nonlocal in_brackets
        if token["escape"] is not None:
            known = _ESCAPES_IN_BRACKETS if in_brackets else _ESCAPES
            return known.get(token["escape"], token[0])
        if in_brackets:
            in_brackets = not token[0].endswith("]")
            return rf"\{token[0]}" if token["open"] else token[0]
        if token["open"] is not None:
            in_brackets = True
            return token[0].replace("]", r"\]")
        if token["end"]:
            return r"(?:\n?$)"
        if token["group"] is not None:
            return f"(?<{token['group']}>"
        return f"{{0,{token['most']}}}" if token["most"] is not None else token[0]

    return _TOKEN.sub(translated, pattern)
