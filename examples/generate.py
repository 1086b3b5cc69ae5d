"""Writes the example CRM: customers.jsonl, orders.jsonl and sample.singer.jsonl.

The output is the same on every machine and Python version, so the files are committed:

    python examples/generate.py
"""
# ruff: noqa: INP001

from __future__ import annotations

import json
import random
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, TypeVar

CUSTOMERS = 200
ORDERS = 600
SAMPLE_CUSTOMERS = 20
SAMPLE_ORDERS = 40

Row = dict[str, Any]
T = TypeVar("T")

FIRST = ("Ada", "Bram", "Chloe", "Dmitri", "Elif", "Farah", "Goran", "Hana", "Ivo", "Lena")
LAST = ("Achterberg", "Bianchi", "Costa", "Dubois", "Eriksen", "Fischer", "Garcia", "Haddad")
COMPANIES = ("Acorn", "Bluebird", "Cobalt", "Driftwood", "Ember", "Fjord", "Granite", "Harbor")
PLANS = (("free", 0.0), ("team", 12.5), ("business", 27.0), ("enterprise", 49.0))
TAGS = ("beta", "newsletter", "partner", "reference", "at-risk")
PRODUCTS = (("SKU-100", 4.5), ("SKU-210", 19.95), ("SKU-330", 74.0), ("SKU-480", 120.0))
PAGES = ("/cart", "/checkout", "/offers/spring", "/product/SKU-210")
CURRENCIES = ("EUR", "EUR", "USD", "GBP")
COUPONS = (None, None, None, "SPRING10", "WELCOME5")
START = datetime(2024, 1, 8, 7, 30, tzinfo=timezone.utc)


class Dice:
    """A seeded source of choices that uses `random()` alone: the same on every Python version."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed).random  # noqa: S311 (example data, not a secret)

    def below(self, limit: int) -> int:
        """An integer from 0 to limit - 1."""
        return int(self._random() * limit)

    def pick(self, options: tuple[T, ...]) -> T:
        """One of the options."""
        return options[self.below(len(options))]

    def chance(self, percent: int) -> bool:
        """True in so many cases of a hundred."""
        return self.below(100) < percent


def instant(dice: Dice, days: int) -> str:
    """A moment in the days after START, in ISO 8601."""
    moment = START + timedelta(seconds=dice.below(days * 86_400))
    return moment.isoformat().replace("+00:00", "Z")


def customer(dice: Dice, number: int) -> Row:
    """One row of the customers table."""
    first, last = dice.pick(FIRST), dice.pick(LAST)
    plan, price = dice.pick(PLANS)
    seats = None if plan == "free" else 1 + dice.below(80)
    return {
        "id": number,
        "full_name": f"{first} {last}",
        "contact": {
            "email": f"{first}.{last}.{number}@example.com".lower(),
            "phone": None if dice.chance(30) else f"+31 20 555 {number:04d}",
        },
        "company": None if dice.chance(10) else f"{dice.pick(COMPANIES)} BV",
        "plan": plan,
        "seats": seats,
        "mrr": round(price * (seats or 0), 2),
        "created_at": instant(dice, 365),
        "tags": [tag for tag in TAGS if dice.chance(25)],
    }


def order(dice: Dice, number: int) -> Row:
    """One row of the orders table."""
    items: list[Row] = []
    for _ in range(1 + dice.below(3)):
        sku, price = dice.pick(PRODUCTS)
        items.append({"sku": sku, "quantity": 1 + dice.below(4), "unit_price": price})
    return {
        "id": 50_000 + number,
        "customer_id": 1 + dice.below(CUSTOMERS),
        "created_at": instant(dice, 500),
        "amount": round(sum(item["quantity"] * item["unit_price"] for item in items), 2),
        "currency": dice.pick(CURRENCIES),
        "coupon": dice.pick(COUPONS),
        "page_url": f"https://shop.example.com{dice.pick(PAGES)}",
        "card_last4": f"{dice.below(10_000):04d}",
        "items": items,
    }


def nullable(*types: str, **more: Any) -> Row:
    """The JSON Schema of a column that may be null."""
    return {"type": [*types, "null"], **more}


CUSTOMER_SCHEMA: Row = {
    "id": {"type": "integer"},
    "full_name": nullable("string"),
    "contact": nullable("object", properties={"email": nullable("string"), "phone": nullable("string")}),
    "company": nullable("string"),
    "plan": nullable("string"),
    "seats": nullable("integer"),
    "mrr": nullable("number"),
    "created_at": nullable("string", format="date-time"),
    "tags": nullable("array", items={"type": "string"}),
}
ORDER_SCHEMA: Row = {
    "id": {"type": "integer"},
    "customer_id": nullable("integer"),
    "created_at": nullable("string", format="date-time"),
    "amount": nullable("number"),
    "currency": nullable("string"),
    "coupon": nullable("string"),
    "page_url": nullable("string"),
    "card_last4": nullable("string"),
    "items": nullable("array", items={"type": "object"}),
}


def singer(stream: str, columns: Row, rows: list[Row]) -> list[Row]:
    """The Singer messages of one table: its SCHEMA and its RECORDs."""
    schema = {"type": "object", "properties": columns}
    return [
        {"type": "SCHEMA", "stream": stream, "key_properties": ["id"], "schema": schema},
        *({"type": "RECORD", "stream": stream, "record": row} for row in rows),
    ]


def bookmark(customers: list[Row], orders: list[Row]) -> Row:
    """The STATE that closes the sample, as a tap with incremental replication writes it."""
    latest = {
        stream: {
            "replication_key": "created_at",
            "replication_key_value": max(row["created_at"] for row in rows),
        }
        for stream, rows in (("customers", customers), ("orders", orders))
    }
    return {"type": "STATE", "value": {"bookmarks": latest}}


def write(path: Path, rows: list[Row]) -> None:
    """Write one JSON object a line."""
    lines = (json.dumps(row, separators=(",", ":")) + "\n" for row in rows)
    path.write_text("".join(lines), encoding="utf-8")


def main(directory: Path) -> None:
    """Write the three files.

    Args:
        directory: Where to.
    """
    dice = Dice(seed=2024)
    customers = [customer(dice, number) for number in range(1, CUSTOMERS + 1)]
    orders = [order(dice, number) for number in range(1, ORDERS + 1)]
    write(directory / "customers.jsonl", customers)
    write(directory / "orders.jsonl", orders)
    few_customers = customers[:SAMPLE_CUSTOMERS]
    few_orders = [row for row in orders if row["customer_id"] <= SAMPLE_CUSTOMERS][:SAMPLE_ORDERS]
    messages = [
        *singer("customers", CUSTOMER_SCHEMA, few_customers),
        *singer("orders", ORDER_SCHEMA, few_orders),
        bookmark(few_customers, few_orders),
    ]
    write(directory / "sample.singer.jsonl", messages)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
