"""RECORD lines that no decoder takes: nested a thousand deep, or with a number of thousands of digits.

Such a line is checked from the inside out: each object and array, once it is known to be JSON, is replaced by
a short one. What remains of the line is flat, and tells the stream.
"""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

_LONGEST_LINE = 16 * 1024 * 1024
_DEEPEST = 100_000
_PARTS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\]]|[0-9]{1000,}', re.DOTALL)


class UnreadableRecord(msgspec.Struct, frozen=True):
    """A record that cannot be decoded, as text."""

    stream: str
    text: str


def unreadable_record(line: bytes) -> UnreadableRecord | None:
    """The record in a line that is a RECORD message but for its depth or its numbers; None for any other.

    That includes lines of more than 16 MiB, and those nested deeper than 100,000.
    """
    found = _flattened(line)
    if found is None:
        return None
    message, nested = found
    stream, record = message.get("stream"), message.get("record")
    if message.get("type") != "RECORD" or not isinstance(stream, str) or not isinstance(record, dict):
        return None
    return UnreadableRecord(stream, nested[record[""]])


def unreadable_object(line: bytes) -> str | None:
    """A line that is an object but for its depth or its numbers, as text; None for any other."""
    return line.decode().strip() if _flattened(line) else None


def _flattened(line: bytes) -> tuple[dict[str, Any], list[str]] | None:
    """An object whose nested objects are `{"": number}`, and their texts by that number."""
    if len(line) > _LONGEST_LINE:
        return None
    nested: list[str] = []
    # Where each object or array that is open begins, and what of the one around it comes before it.
    outer: list[tuple[int, list[str]]] = []
    parts: list[str] = []
    try:
        text = line.decode().strip()
        at = 0
        for found in _PARTS.finditer(text):
            part = found.group()
            parts.append(text[at : found.start()])
            at = found.end()
            if part in {"{", "["}:
                if len(outer) == _DEEPEST:
                    return None
                outer.append((found.start(), parts))
                parts = [part]
            elif part in {"}", "]"}:
                parts.append(part)
                value = json.loads("".join(parts))
                begin, parts = outer.pop()
                if not outer:
                    is_object = isinstance(value, dict) and not "".join(parts) and at == len(text)
                    return (value, nested) if is_object else None
                if isinstance(value, dict):
                    parts.append(f'{{"":{len(nested)}}}')
                    # Only what the line's own object holds is asked for.
                    nested.append(text[begin:at] if len(outer) == 1 else "")
                else:
                    parts.append("[]")
            else:
                parts.append(part if part[0] == '"' else "0")
    except ValueError:
        pass
    return None
