"""docs/warehouse.md, from the tables to production, with a real PostgreSQL and a real Meltano.

The tests are the steps of one walk, so each needs those before it. What Fullstory holds is compared with the
database's rows, every one.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.e2e.contents import Expected, moment
from tests.e2e.walk import PRIVATE, State, Walk
from tests.ecosystem.pages import BLOCKS

pytestmark = pytest.mark.e2e

CUSTOMERS, ORDERS = 50_000, 20_000
FILL = Path(__file__).with_name("fill.sql")
LOAD = "./load.sh --force"
"""Not put off by a run that was killed less than five minutes ago."""
IN_PIECES = {"BATCH_SIZE_ROWS": "5000"}
ONE_AT_A_TIME = {"MAX_JOBS_IN_PROGRESS": "1"}
"""The second job waits for the end of the first: there is time to kill the load between them."""


def check_counts(state: State, **received: int) -> None:
    """Every record of the load is accounted for, and delivered."""
    for table, count in received.items():
        counts = state.counts(table)
        assert (counts["received"], counts["delivered"]) == (count, count), counts
        assert counts["rejected"] == counts["merged"] == counts["ignored"] == 0, counts
        assert counts["dropped_properties"] == {}
    assert {job["status"] for job in state.block["jobs"]} <= {"COMPLETED"}, state.block["jobs"]


def test_first_load_takes_everything(walk: Walk, expected: Expected) -> None:
    walk.go_on("The tables")
    walk.postgres.sql(FILL.read_text())
    for section in ("Install", "What to read", "What it becomes", "The first load"):
        walk.go_on(section)
    check_counts(walk.state(), customers=CUSTOMERS, orders=ORDERS)
    expected.take(walk.postgres)
    assert len(expected.users) == CUSTOMERS
    assert expected.events.total() == ORDERS
    expected.compare(walk.database)


def test_second_load_takes_what_has_changed(walk: Walk, expected: Expected) -> None:
    walk.go_on("The second load")
    # The page's text has the numbers: 300 changed, and the row of the bookmark; 200 new orders.
    check_counts(walk.state(), customers=301, orders=200)
    expected.take(walk.postgres)
    expected.compare(walk.database)


def test_bookmarks_are_those_of_the_database(walk: Walk) -> None:
    walk.go_on("What the bookmarks do")
    bookmarks = json.loads(walk.printed[-1])
    assert bookmarks["public-orders"]["replication_key_value"] == ORDERS + 200
    (latest,) = walk.postgres.rows("select max(updated_at) as moment from customers")
    shown = bookmarks["public-customers"]["replication_key_value"]
    assert moment(shown) == moment(latest["moment"])


def test_new_columns_take_a_new_catalog(walk: Walk) -> None:
    # The variable in the tap's settings has changed with the second load: a catalog is made for it.
    walk.sh("./load.sh")
    walk.postgres.sql("alter table customers add column region text")
    (catalog,) = walk.project.path.glob(".meltano/run/tap-postgres/tap.properties.json")
    walk.sh("./load.sh")
    assert "region" not in catalog.read_text(), "Meltano looks for new columns by itself"
    walk.go_on("New columns")
    assert "region" in catalog.read_text()


def test_odd_rows_are_rejected_alone(walk: Walk, expected: Expected) -> None:
    walk.postgres.sql(
        """insert into customers (id, contact, plan, is_trial, tags) values
          (md5('odd 1')::uuid, '{"email": "odd@example.com"}', 'free', true, array['a', null]),
          (md5('odd 2')::uuid, '["odd@example.com"]', 'free', true, '{}');
        insert into orders (customer_id, amount, currency, page_url) values
          (md5('customer 1')::uuid, 5, 'EUR', 'https://shop.example/'),
          (md5('customer 2')::uuid, 6, 'EUR', 'https://shop.example/')"""
    )
    walk.sh("./load.sh", code=1)
    state = walk.state()
    path = walk.project.path / state.block["rejects"]["path"]
    kept = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(reject["stage"], reject["code"]) for reject in kept] == [("map", "schema_violation")] * 2
    counts = state.counts("customers")
    assert counts["rejected"] == 2
    assert counts["received"] == counts["delivered"] + 2
    check_counts(state, orders=2)
    # What the next loads find: the rows in order.
    walk.postgres.sql(
        """update customers set tags = array_remove(tags, null), updated_at = now()
          where array_position(tags, null) is not null;
        update customers set contact = '{"email": "odd@example.com"}', updated_at = now()
          where jsonb_typeof(contact) = 'array'"""
    )


def test_a_row_with_an_array_goes_in_with_its_true_schema(walk: Walk) -> None:
    """The way out that docs/taps.md shows, for another column."""
    blocks = [block for block in BLOCKS if block.section == "A `jsonb` column with arrays in it"]
    (shown,) = (block.text for block in blocks if block.language == "yaml")
    (script,) = (block.text for block in blocks if block.info == "sh postgres")
    path = walk.project.path / "meltano.yml"
    before = path.read_text()
    ((plugin,),) = yaml.safe_load(shown.replace("orders", "customers").replace("items", "contact"))[
        "plugins"
    ].values()
    meltano = yaml.safe_load(before)
    next(one for one in meltano["plugins"]["extractors"] if one["name"] == plugin["name"]).update(plugin)
    path.write_text(yaml.safe_dump(meltano))
    walk.sh(script, code=1)
    reports = (walk.project.path / "output/target-fullstory").glob("run-*.json")
    counts = json.loads(max(reports).read_text())["streams"]["public-customers"]
    # The other row has a null in a list of text.
    assert (counts["received"], counts["delivered"], counts["rejected"]) == (2, 1, 1)
    path.write_text(before)


def test_killed_while_users_load(walk: Walk, expected: Expected) -> None:
    walk.postgres.sql(
        """update customers set mrr = coalesce(nullif(mrr, 'NaN'), 0) + 1, seats = null,
            updated_at = clock_timestamp()
          where id in (select id from customers order by id limit 6000);
        insert into orders (customer_id, amount, currency, page_url)
          select id, 7, 'USD', 'https://shop.example/' from customers order by id limit 100"""
    )
    known = walk.jobs_accepted("users")
    walk.kill(lambda: len(walk.jobs_accepted("users")) > len(known), **IN_PIECES, **ONE_AT_A_TIME)
    assert len(walk.jobs_accepted("users")) == len(known) + 1
    (changed,) = walk.postgres.rows(
        "select min(updated_at) as first from (select * from customers order by updated_at desc limit 6000) c"
    )
    assert moment(walk.state().bookmark("customers")) < moment(changed["first"])
    walk.go_on("When a run is killed")
    state = walk.state()
    # Beside the changed ones, the odd ones of the test before.
    assert 6_000 <= state.counts("customers")["received"] <= 6_002
    check_counts(state, customers=state.counts("customers")["received"], orders=100)
    expected.take(walk.postgres)
    expected.compare(walk.database)


def test_killed_while_events_load(walk: Walk, expected: Expected) -> None:
    walk.postgres.sql(
        """insert into orders (customer_id, amount, currency, page_url)
          select id, 8, 'USD', 'https://shop.example/' from customers order by id limit 11000;
        update customers set plan = 'team', updated_at = clock_timestamp()
          where id in (select id from customers order by created_at desc limit 100)"""
    )
    (latest,) = walk.postgres.rows("select max(id) - 11000 as before, max(id) as id from orders")
    known = walk.jobs_accepted("events")
    walk.kill(lambda: len(walk.jobs_accepted("events")) > len(known), **IN_PIECES, **ONE_AT_A_TIME)
    *_, accepted = walk.jobs_accepted("events")
    assert len(walk.jobs_accepted("events")) == len(known) + 1
    # Fullstory has 5,000 orders of which Meltano knows nothing: the next load sends them again.
    assert walk.state().bookmark("orders") == latest["before"]
    walk.sh(LOAD, **IN_PIECES)
    assert accepted in walk.keys_recognised()
    state = walk.state()
    check_counts(state, orders=11_000)
    assert state.bookmark("orders") == latest["id"]
    expected.take(walk.postgres)
    expected.compare(walk.database)


def test_what_the_clause_is_for(walk: Walk, expected: Expected) -> None:
    """Without the variable the last order is read again; the page tells what becomes of it."""
    last = Expected()
    last.take(walk.postgres, "false", "id = (select max(id) from orders)")
    expected.events += last.events
    for _ in range(2):
        walk.sh("meltano run --force tap-postgres target-fullstory")
        # First it is another request than the batch that it came in; then a request like the last.
        expected.compare(walk.database)


def test_late_rows_are_left_to_the_next_load(walk: Walk) -> None:
    walk.postgres.sql(
        """update customers set updated_at = updated_at - interval '1 hour';
        update orders set created_at = created_at - interval '1 hour';
        insert into orders (customer_id, amount, currency, page_url, created_at) values
          (md5('customer 1')::uuid, 9, 'GBP', 'https://shop.example/', now() - interval '1 hour');
        insert into orders (customer_id, amount, currency, page_url) values
          (md5('customer 1')::uuid, 9, 'GBP', 'https://shop.example/');
        update customers set updated_at = now() where id in (select id from customers limit 5)"""
    )
    walk.go_on("Rows that come late")
    walk.sh(LOAD)
    check_counts(walk.state(), customers=0, orders=1)


def test_production_begins_anew(walk: Walk) -> None:
    """At an empty Fullstory; the young rows have come of age."""
    walk.postgres.sql(
        """update customers set updated_at = updated_at - interval '1 hour';
        update orders set created_at = created_at - interval '1 hour'"""
    )
    walk.reset()
    walk.go_on("Production")
    assert walk.at == len(walk.blocks), "the page has more examples than this test executes"
    fresh = Expected()
    fresh.take(walk.postgres)
    fresh.compare(walk.database)


def test_nothing_private_is_left_behind(walk: Walk) -> None:
    output = walk.project.path / "output/target-fullstory"
    reports = list(output.glob("run-*.json"))
    assert reports
    for path in [*reports, walk.project.path / "killed.log"]:
        text = path.read_text()
        assert not [private for private in PRIVATE if private in text], path
