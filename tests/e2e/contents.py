"""What Fullstory holds, and what it has to hold given the database's rows."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from target_fullstory.sandbox import Sandbox, SandboxOptions
from tests.conftest import SandboxApi
from tests.e2e.postgres import Postgres

_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?(Z|[+-]\d\d:\d\d)")
_INFINITY = "9999-12-31"
"""What the tap makes of the date `infinity`."""


class Expected:
    """Every user and event that has to be there; written without a look at the target's mapping."""

    def __init__(self) -> None:
        self.users: dict[str, dict[str, Any]] = {}
        self.events: Counter[str] = Counter()

    def take(self, postgres: Postgres, customers: str = "true", orders: str = "true") -> None:
        """Take the rows as they are now; conditions in SQL choose some of them."""
        for row in postgres.rows(f"select * from customers where {customers}"):
            user = self.users.setdefault(f"user_{row['id']}", {})
            # A null says nothing: what was there before stays.
            user.update({name: value for name, value in _user(row).items() if value is not None})
        self.events = Counter(
            _text(_event(row)) for row in postgres.rows(f"select * from orders where {orders}")
        )

    def compare(self, database: Path) -> None:
        """Fail where a sandbox with this database holds anything else."""
        # Another sandbox on the same file, for its large pages: the jobs are over.
        with Sandbox(SandboxOptions(db=database, page_size=10_000)) as sandbox:
            api = SandboxApi(sandbox.url)
            users, events = _users_in(api), _events_in(api)
        wrong = [uid for uid in self.users | users if self.users.get(uid) != users.get(uid)]
        lines = [f"{uid}: {users.get(uid)}, not {self.users.get(uid)}" for uid in wrong[:5]]
        assert not wrong, "\n".join([f"{len(wrong)} users are wrong", *lines])
        missing, excess = self.events - events, events - self.events
        lines = [f"missing: {event}" for event in list(missing)[:5]]
        lines += [f"too many: {event}" for event in list(excess)[:5]]
        head = f"{missing.total()} events are missing, {excess.total()} too many"
        assert not lines, "\n".join([head, *lines])


def _user(row: dict[str, Any]) -> dict[str, Any]:
    renews_on = _INFINITY if row["renews_on"] == "infinity" else row["renews_on"]
    return {
        "email": row["contact"].get("email"),
        "display_name": row["full_name"],
        "plan": row["plan"],
        "seats": row["seats"],
        "mrr": None if row["mrr"] == "NaN" else row["mrr"],
        "is_trial": row["is_trial"],
        "renews_on": renews_on,
        "tags": row["tags"],
        "created_at": moment(row["created_at"]),
    }


def _event(row: dict[str, Any]) -> dict[str, Any]:
    names = ("id", "amount", "currency", "coupon", "gift", "deliver_on")
    return {
        "name": "Order Placed",
        "timestamp": moment(row["created_at"]),
        "uid": f"user_{row['customer_id']}",
        "url": row["page_url"],
        "properties": {name: row[name] for name in names if row[name] is not None},
    }


def _users_in(api: SandboxApi) -> dict[str, dict[str, Any]]:
    return {
        user["uid"]: {
            **{name: user[name] for name in ("email", "display_name") if user.get(name)},
            **{name: moment(value) for name, value in user["properties"].items()},
        }
        for user in _all_of(api, "/v2/users")
    }


def _events_in(api: SandboxApi) -> Counter[str]:
    return Counter(
        _text(
            {
                "name": event["name"],
                "timestamp": moment(event["timestamp"]),
                "uid": event["user"]["uid"],
                "url": event.get("context", {}).get("browser", {}).get("url"),
                "properties": event["properties"],
            }
        )
        for event in _all_of(api, "/sandbox/events", limit=10_000)
    )


def _all_of(api: SandboxApi, path: str, **params: Any) -> Iterator[dict[str, Any]]:
    while True:
        page = api.get(path, **params)
        yield from page["results"]
        if "next_page_token" not in page:
            return
        params["page_token"] = page["next_page_token"]


def moment(value: Any) -> Any:
    """A time in one form; anything else as it is."""
    found = _TIME.fullmatch(value) if isinstance(value, str) else None
    if not found:
        return value
    seconds, fraction, offset = found.groups()
    text = f"{seconds}.{fraction or '':0<6}{'+00:00' if offset == 'Z' else offset}"
    return datetime.fromisoformat(text).astimezone(timezone.utc).isoformat(timespec="microseconds")


def _text(value: dict[str, Any]) -> str:
    return json.dumps(value, sort_keys=True)
