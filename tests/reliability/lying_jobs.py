"""Jobs that vanish, fail without errors or lie about their figures; what is true of them is known.

A lying job's request is passed on without some of its items, so that these are surely not in the sandbox: a
target that believes the job loses them.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from typing import Any

LIES = (
    "vanishes",
    "fails without errors",
    "imports too few",
    "lists no errors",
    "counts errors twice",
    "same page token",
    "lists late",
    "does not say which",
)
LATE = 3
"""So often a job that lists late answers 202 instead."""


@dataclass(frozen=True)
class Lie:
    """What a job says, and which of its items (by place) it has in truth never seen."""

    name: str
    dropped: frozenset[int]

    def passed_on(self, body: bytes) -> bytes:
        """The request that creates the job, without what is dropped."""
        message = json.loads(body)
        message["requests"] = [
            one for place, one in enumerate(message["requests"]) if place not in self.dropped
        ]
        return json.dumps(message).encode()

    def status(self, told: dict[str, Any]) -> None:
        """Change what the job's status says, once it has ended."""
        if told["job"]["status"] == "PROCESSING":
            return
        if self.name == "fails without errors":
            told["job"]["status"] = "FAILED"
            told["imports"] = told["errors"] = 0
        elif self.name == "lists no errors":
            told["job"]["status"] = "FAILED"
            told["errors"] += len(self.dropped)
        elif self.name == "counts errors twice":
            told["job"]["status"] = "FAILED"
            told["errors"] = 2 * told["errors"] + 1

    def listing(self, told: dict[str, Any], what: str) -> None:
        """Change a page of the job's `imports` or `errors`."""
        if self.name == "same page token":
            told["next_page_token"] = "again"
        elif self.name == "fails without errors" and what == "errors":
            told["results"], told["total_records"] = [], "0"
        elif self.name == "does not say which" and what == "errors":
            # Refused items without the requests.
            told["results"] = [{"code": one["code"], "message": one["message"]} for one in told["results"]]


def draw_lie(rng: random.Random, names: tuple[str, ...], items: int) -> Lie:
    """A lie about a job of so many items, at least one of which is passed on."""
    name = rng.choice(names)
    # Some lies hurt nobody: all is imported, and the job says something else.
    harmless = name == "lists late" or rng.random() < 0.25
    count = 0 if harmless else rng.randrange(items)
    return Lie(name, frozenset(rng.sample(range(items), count)))
