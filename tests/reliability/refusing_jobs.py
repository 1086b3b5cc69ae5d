"""Items that Fullstory refuses for some time and accepts later, as its jobs and answers tell of them.

What is refused goes to the sandbox as something that it always refuses, and comes back from its list of
errors as what it was.
"""

from __future__ import annotations

import json
from collections.abc import Set
from dataclasses import dataclass, field
from typing import Any

REFUSAL = json.dumps({"code": "not_tonight", "message": "Refused for a while"}).encode()
_TOO_LONG = "x" * 300


@dataclass(frozen=True)
class Refusal:
    """Which items of a job are refused, by place; it tells the truth about them, so `name` is no lie's."""

    kind: str
    items: dict[int, dict[str, Any]] = field(default_factory=dict)
    name: str = "refuses"
    dropped: frozenset[int] = frozenset()

    def passed_on(self, body: bytes) -> bytes:
        """The request that creates the job, with what no sandbox takes in the place of what is refused."""
        message = json.loads(body)
        field_name = {"users": "uid", "events": "name"}[self.kind]
        for place in self.items:
            message["requests"][place] = {field_name: _TOO_LONG, "properties": {"place": place}}
        return json.dumps(message).encode()

    def status(self, told: dict[str, Any]) -> None:
        """The job's figures are true."""

    def listing(self, told: dict[str, Any], what: str) -> None:
        """Name in a page of errors what was refused."""
        name = self.kind.removesuffix("s")
        for one in told["results"] if what == "errors" else ():
            place = one[name].get("properties", {}).get("place")
            if place in self.items:
                one[name], one["code"] = self.items[place], "not_tonight"


def refused_items(items: list[dict[str, Any]], names: Set[str | int]) -> dict[int, dict[str, Any]]:
    """Those of the items that update one of these users or are events of one of these numbers, by place."""
    return {place: item for place, item in enumerate(items) if is_refused(item, names)}


def is_refused(item: dict[str, Any], names: Set[str | int]) -> bool:
    return item.get("uid") in names or item.get("properties", {}).get("number") in names
