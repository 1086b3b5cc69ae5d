"""One database, two makers' taps: every row that they read, compared value by value.

`_of_meltanolabs` and `_of_pipelinewise` tell what each tap makes of PostgreSQL's values before the target
sees them; docs/taps.md tells it to people.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Outcome, SandboxApi
from tests.e2e.contents import moment
from tests.e2e.postgres import Postgres, running_postgres
from tests.ecosystem.taps.installing import Installed, choose, install
from tests.ecosystem.taps.known import TAPS

pytestmark = pytest.mark.e2e

FILL = Path(__file__).with_name("two_taps.sql")
USERS = 60
STREAMS = {
    "public-users": {"kind": "users", "fields": {"uid": "id", "display_name": "name"}},
    "public-events": {
        "kind": "events",
        "fields": {"name": "kind", "timestamp": "happened_at", "user.uid": "user_id"},
    },
}
FULL_TABLE = {
    "public_users": {"replication-method": "FULL_TABLE"},
    "public_events": {"replication-method": "FULL_TABLE"},
}
INCREMENTAL = {
    "public_users": {"replication-method": "INCREMENTAL", "replication-key": "updated_at"},
    "public_events": {"replication-method": "INCREMENTAL", "replication-key": "id"},
}


def _of_meltanolabs(row: dict[str, Any]) -> dict[str, Any]:
    """Infinite dates become the calendar's ends, an interval a moment, bytes hexadecimal digits."""
    dates = {"infinity": "9999-12-31", "-infinity": "0001-01-01"}
    times = {"infinity": "9999-12-31T23:59:59.999999Z", "-infinity": "0001-01-01T00:00:00Z"}
    return row | {
        "renews_on": dates.get(row["renews_on"], row["renews_on"]),
        "expires_at": times.get(row["expires_at"], row["expires_at"]),
        "quota": row["quota"] and _since_1970(row["quota"]),
        "photo": row["photo"] and row["photo"].removeprefix("\\x"),
    }


def _of_pipelinewise(row: dict[str, Any]) -> dict[str, Any]:
    """Dates are moments, infinite timestamps the end of time, null arrays empty; no bytea, no interval."""
    dates = {"infinity": "9999-12-31", "-infinity": "0001-01-01"}
    ends = dict.fromkeys(("infinity", "-infinity"), "9999-12-31T23:59:59.999Z")
    renews_on = dates.get(row["renews_on"], row["renews_on"])
    return row | {
        "born_on": row["born_on"] and f"{row['born_on']}T00:00:00Z",
        "renews_on": renews_on and f"{renews_on}T00:00:00Z",
        "expires_at": ends.get(row["expires_at"], row["expires_at"]),
        "quota": None,
        "photo": None,
        "tags": row["tags"] or [],
        "sizes": row["sizes"] or [],
    }


def _since_1970(interval: str) -> str:
    days, _, clock = interval.split(" ")
    hours, minutes, seconds = map(int, clock.split(":"))
    span = timedelta(days=int(days), hours=hours, minutes=minutes, seconds=seconds)
    return (datetime(1970, 1, 1, tzinfo=timezone.utc) + span).isoformat()


@dataclass
class Pipeline:
    """A tap on the database, piped into the target."""

    tap: Installed
    postgres: Postgres
    api: SandboxApi
    run_target: Callable[..., Outcome]
    read_as: Callable[[dict[str, Any]], dict[str, Any]]
    state: dict[str, Any] | None = None
    printed: str = ""
    schemas: dict[str, Any] = field(default_factory=dict)
    """What the catalog is to say of a column, in place of what the tap found."""

    def load(self, methods: dict[str, dict[str, Any]], code: int = 0) -> Outcome:
        """Read with the state of the load before, and load that."""
        config = self.postgres.account | {"dbname": self.postgres.DATABASE}
        if self.tap.tap.maker == "MeltanoLabs":
            config |= {"database": self.postgres.DATABASE, "json_as_object": True}
            config["filter_schemas"] = ["public"]
        catalog = choose(self.tap.discover(config), **methods)
        for stream in catalog["streams"]:
            for name in self.schemas.keys() & stream["schema"]["properties"].keys():
                stream["schema"]["properties"][name] = self.schemas[name]
        self.printed = self.tap.read(config, catalog, self.state)
        outcome = self.run_target(
            self.printed.encode(), api_url=self.api.url, streams=STREAMS, batch_threshold=0
        )
        assert outcome.code == code, outcome.stderr
        self.state = outcome.states[-1]
        return outcome

    def counts(self, outcome: Outcome) -> dict[str, int]:
        """What was received, all of it delivered."""
        streams = outcome.block["streams"]
        for counts in streams.values():
            assert counts["received"] == counts["delivered"], counts
            assert counts["dropped_properties"] == {}
        return {stream: counts["received"] for stream, counts in streams.items()}

    def compare(self, twice: tuple[int, ...] = ()) -> None:
        """Fail where the sandbox holds anything else than the tables, as this tap reads them.

        Args:
            twice: Events that were read twice, in batches of their own, so that they are there twice.
        """
        rows = self.postgres.rows("select * from users")
        wanted = {str(row["id"]): _sent(self.read_as(_plain(row))) for row in rows}
        found = {}
        for user in _all_of(self.api, "/v2/users"):
            name = {"name": user["display_name"]} if user.get("display_name") else {}
            found[user["uid"]] = _in_one_form(user["properties"] | name)
        assert found == {uid: _in_one_form(user) for uid, user in wanted.items()}
        events = self.postgres.rows("select * from events")
        events += [row for row in events if row["id"] in twice]
        assert sorted(map(_text, _all_of(self.api, "/sandbox/events"))) == sorted(
            _text(
                {
                    "name": row["kind"],
                    "timestamp": row["happened_at"],
                    "user": {"uid": str(row["user_id"])},
                    "properties": _sent({n: row[n] for n in ("id", "amount", "payload")}),
                }
            )
            for row in events
        )


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """What both taps do: no NaN, and a timestamp without a zone is one in UTC."""
    return {name: value for name, value in row.items() if name != "id"} | {
        "score": None if row["score"] == "NaN" else row["score"],
        "last_seen": row["last_seen"] and f"{row['last_seen']}Z",
    }


def _sent(values: dict[str, Any]) -> dict[str, Any]:
    """What the target sends of it: no nulls, arrays of objects as JSON text."""
    sent = {name: value for name, value in values.items() if value is not None}
    for name, value in sent.items():
        if isinstance(value, list):
            text = json.dumps(value, separators=(",", ":"))
            plain = [item for item in value if item is not None]
            sent[name] = text if any(isinstance(item, dict) for item in plain) else plain
    return sent


def _in_one_form(values: dict[str, Any]) -> dict[str, Any]:
    return {name: moment(value) for name, value in values.items()}


def _text(event: dict[str, Any]) -> str:
    properties = _in_one_form(event["properties"])
    return json.dumps(
        [event["name"], moment(event["timestamp"]), event["user"]["uid"], properties], sort_keys=True
    )


def _all_of(api: SandboxApi, path: str) -> Iterator[dict[str, Any]]:
    params: dict[str, Any] = {}
    while True:
        page = api.get(path, **params)
        yield from page["results"]
        if "next_page_token" not in page:
            return
        params["page_token"] = page["next_page_token"]


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("taps")


@pytest.fixture(params=["meltanolabs", "pipelinewise"])
def pipeline(
    request: pytest.FixtureRequest,
    postgres: Postgres,
    place: Path,
    api: SandboxApi,
    run_target: Callable[..., Outcome],
) -> Pipeline:
    """Each tap, on tables made anew."""
    postgres.sql("drop schema public cascade; create schema public")
    postgres.sql(FILL.read_text().replace(":users", str(USERS)))
    read_as = {"meltanolabs": _of_meltanolabs, "pipelinewise": _of_pipelinewise}[request.param]
    tap = install(TAPS[f"{request.param}-tap-postgres"], place)
    pipeline = Pipeline(tap, postgres, api, run_target, read_as)
    if request.param == "meltanolabs":
        # It calls every jsonb column an object.
        either = {"type": ["null", "object", "array"]}
        pipeline.schemas = {"labels": either, "payload": either}
    return pipeline


def test_full_table(pipeline: Pipeline) -> None:
    outcome = pipeline.load(FULL_TABLE)
    assert pipeline.counts(outcome) == {"public-users": USERS, "public-events": 3 * USERS}
    pipeline.compare()


def test_incremental(pipeline: Pipeline) -> None:
    pipeline.load(INCREMENTAL)
    pipeline.compare()
    pipeline.postgres.sql(
        """update users set plan = 'team', balance = 0.01, tags = array['new'], renews_on = 'infinity',
            labels = '["moved", null]', updated_at = updated_at + interval '1 day' where id <= 5;
        insert into events select id + 10000, user_id, 'Moved', 5.25, '["x"]', happened_at
          from events where id <= 7"""
    )
    outcome = pipeline.load(INCREMENTAL)
    # Each tap reads the bookmark's own row again.
    assert pipeline.counts(outcome) == {"public-users": 6, "public-events": 8}
    pipeline.compare(twice=(3 * USERS,))


@pytest.mark.parametrize("pipeline", ["meltanolabs"], indirect=True)
def test_arrays_under_the_type_that_the_tap_found(pipeline: Pipeline) -> None:
    """They are rejected, alone, and kept with the column's name."""
    pipeline.schemas = {}
    outcome = pipeline.load(FULL_TABLE, code=1)
    streams = outcome.block["streams"]
    assert {name: counts["rejected"] for name, counts in streams.items()} == {
        "public-users": USERS // 3,
        "public-events": USERS,
    }
    assert {reject["code"] for reject in outcome.rejects} == {"schema_violation"}
    assert {(reject["stream"], reject["column"], reject["message"]) for reject in outcome.rejects} == {
        ("public-users", "labels", "column labels: not an object"),
        ("public-events", "payload", "column payload: not an object"),
    }
