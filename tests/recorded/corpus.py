"""What was recorded: read, written, compared."""

from __future__ import annotations

import copy
import json
import lzma
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.recorded.case import Case, Json

PATH = Path(__file__).with_name("requests.json.xz")

_AROUND = 160


def wordings() -> Json:
    """The versions of what words some of the messages."""
    names = ("jsonschema-rs", "jsonschema", "msgspec", "singer-sdk")
    return {name: version(name) for name in names} | {"python": ".".join(platform.python_version_tuple()[:2])}


def load() -> Json:
    """`wordings`, and the cases by name: each its `digest` and its `outcome`."""
    found: Json = json.loads(lzma.decompress(PATH.read_bytes()))
    return found


def save(corpus: Json) -> None:
    """Write the same bytes for the same corpus; repetitions in it cost next to nothing."""
    text = json.dumps(corpus, separators=(",", ":"), ensure_ascii=True)
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": 1 << 26}]
    PATH.write_bytes(lzma.compress(text.encode(), filters=filters))


def without_wording(outcome: Json) -> Json:
    """An outcome without the texts that people read: whether there is an error, but not its words."""
    bare = copy.deepcopy(outcome)
    bare["error"] = bare["error"] is not None
    for reject in bare["rejects"]:
        del reject["message"]
    return bare


def _without_borrowed(outcome: Json) -> Json:
    """An outcome without the words of libraries, which stand behind a colon in errors."""
    bare = copy.deepcopy(outcome)
    bare["error"] = bare["error"] and bare["error"].partition(": ")[0]
    return bare


def difference(case: Case, recorded: Json | None, now: Json, *, same_wordings: bool) -> str | None:
    """The first difference between what was recorded of a case and what is made of it now.

    Args:
        case: The case.
        recorded: Its entry in the corpus; None where it has none.
        now: The outcome of now.
        same_wordings: Whether the libraries that word some messages are those of the recording.

    Returns:
        Some lines for a reader; None where there is no difference.
    """
    if recorded is None:
        return f"{case.name}: was not recorded"
    if recorded["digest"] != case.digest:
        return f"{case.name}: the case itself is not the one that was recorded"
    then = recorded["outcome"]
    if not same_wordings:
        then, now = _without_borrowed(then), _without_borrowed(now)
    for part in ("error", "requests", "asked", "rejects", "streams", "state", "jobs", "responses"):
        differ = _differ(then[part], now[part]) if part != "requests" else then[part] != now[part]
        if differ:
            return f"{case.name}: {part} not as recorded{_explained(part, then, now)}"
    return None


def _explained(part: str, then: Json, now: Json) -> str:
    old, new = then[part], now[part]
    if not isinstance(old, list):
        return _beside(json.dumps(old, indent=1), json.dumps(new, indent=1))
    place = next(
        (at for at, pair in enumerate(zip(old, new, strict=False)) if _differ(*pair)), min(len(old), len(new))
    )
    before, after = (part[place] if place < len(part) else None for part in (old, new))
    where = f", {len(old)} recorded, {len(new)} now; the first at {place}"
    if part == "requests":
        where += f", stream {_stream(then if before else now, place)!r}"
        return where + _beside(_request(before), _request(after))
    return where + _beside(json.dumps(before), json.dumps(after))


def _differ(one: Any, other: Any) -> bool:
    # 1, 1.0 and True are equal, but not the same.
    return bool(one != other) or json.dumps(one) != json.dumps(other)


def _stream(outcome: Json, place: int) -> str:
    """The stream of a request: each has one response, in the same order."""
    responses = outcome["responses"]
    if len(responses) == len(outcome["requests"]):
        return str(responses[place]["stream"])
    return " or ".join(outcome["streams"])


def _request(request: list[Any] | None) -> str:
    if request is None:
        return "(none)"
    method, path, key, headers, body = request
    return f"{method} {path}\nIdempotency-Key: {key}\n{headers}\n{body}"


def _beside(before: str, after: str) -> str:
    """Both texts around where they begin to differ."""
    same = next(
        (at for at, pair in enumerate(zip(before, after, strict=False)) if pair[0] != pair[1]),
        min(len(before), len(after)),
    )
    begin = max(0, same - _AROUND)
    lead = "…" if begin else ""
    shown = [f"{lead}{text[begin : same + _AROUND]}" for text in (before, after)]
    first = (before if before != "(none)" else after).partition("\n")[0][:100]
    return f"\n  in: {first}\n  recorded: {shown[0]}\n  now:      {shown[1]}"
