"""The SQLite database: one connection, one writer at a time, one transaction per change."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

_TABLES = """
CREATE TABLE IF NOT EXISTS users (
    id INTEGER PRIMARY KEY AUTOINCREMENT, uid TEXT UNIQUE, display_name TEXT, email TEXT,
    properties BLOB NOT NULL, declared BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, user_id INTEGER, uid TEXT, name TEXT NOT NULL,
    job_id TEXT, received TEXT NOT NULL, body BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS events_uid ON events (uid);
CREATE INDEX IF NOT EXISTS events_user_id ON events (user_id);
CREATE TABLE IF NOT EXISTS jobs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL,
    status TEXT NOT NULL, created TEXT NOT NULL, due REAL, finished TEXT,
    operations INTEGER NOT NULL, done INTEGER NOT NULL DEFAULT 0, errors INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS jobs_in_progress ON jobs (seq) WHERE status = 'PROCESSING';
CREATE TABLE IF NOT EXISTS job_bodies (job INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS job_items (
    job INTEGER NOT NULL, failed INTEGER NOT NULL, position INTEGER NOT NULL,
    user_id INTEGER, code TEXT, message TEXT, request BLOB NOT NULL,
    PRIMARY KEY (job, failed, position)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS idempotency (
    key TEXT PRIMARY KEY, fingerprint BLOB NOT NULL, kept REAL NOT NULL,
    status INTEGER NOT NULL, body BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS webhooks (
    id TEXT PRIMARY KEY, url TEXT NOT NULL, event_types BLOB NOT NULL, secret TEXT,
    enabled INTEGER NOT NULL, created TEXT NOT NULL, modified TEXT NOT NULL
);
"""
_TABLE_NAMES = ("users", "events", "jobs", "job_bodies", "job_items", "idempotency", "webhooks")
_MAX_PLACEHOLDERS = 900

Row = tuple[Any, ...]


class Database:
    """One connection that any thread may use, one at a time."""

    def __init__(self, path: str | Path | None) -> None:
        self._lock = threading.RLock()
        if path is not None:
            # It holds records: only its owner may read it. SQLite gives its other files the same mode.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        self._connection = sqlite3.connect(
            ":memory:" if path is None else path, check_same_thread=False, isolation_level=None
        )
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.executescript(_TABLES)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Store everything within together or not at all; a transaction within another joins it."""
        with self._lock:
            if self._connection.in_transaction:
                yield
                return
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def all(self, sql: str, values: Iterable[Any] = ()) -> list[Row]:
        """Run a query and return all its rows."""
        with self._lock:
            return self._connection.execute(sql, tuple(values)).fetchall()

    def one(self, sql: str, values: Iterable[Any] = ()) -> Row | None:
        """Run a query of at most one row."""
        rows = self.all(sql, values)
        return rows[0] if rows else None

    def number(self, sql: str, values: Iterable[Any] = ()) -> int:
        """Run a query that returns one number."""
        return int(self.all(sql, values)[0][0])

    def matching(self, sql: str, values: Iterable[Any]) -> list[Row]:
        """Run a query that ends in a column's name for the rows where that column has one of the values."""
        wanted = list(values)
        rows: list[Row] = []
        for first in range(0, len(wanted), _MAX_PLACEHOLDERS):
            some = wanted[first : first + _MAX_PLACEHOLDERS]
            rows += self.all(f"{sql} IN ({', '.join('?' * len(some))})", some)
        return rows

    def page(
        self, table: str, columns: str, key: str, filters: Mapping[str, Any], after: int, limit: int
    ) -> tuple[list[Row], int]:
        """Read a page of a table, sorted by a key column, and count the rows on all pages.

        `filters` maps columns, or other SQL expressions, to the values that they must have. The page begins
        with the first row whose key is greater than `after`.
        """
        where = " AND ".join(f"{expression} = ?" for expression in filters) or "1"
        values = filters.values()
        total = self.number(f"SELECT COUNT(*) FROM {table} WHERE {where}", values)  # noqa: S608
        rows = self.all(
            f"SELECT {columns} FROM {table} WHERE {where} AND {key} > ? ORDER BY {key} LIMIT ?",  # noqa: S608
            (*values, after, limit),
        )
        return rows, total

    def write(self, sql: str, values: Iterable[Any] = ()) -> int:
        """Run a statement and return how many rows it changed."""
        with self.transaction():
            return self._connection.execute(sql, tuple(values)).rowcount

    def write_many(self, sql: str, rows: Iterable[tuple[Any, ...]]) -> None:
        """Run a statement once per row of values."""
        with self.transaction():
            self._connection.executemany(sql, rows)

    def clear(self) -> None:
        """Empty every table."""
        with self.transaction():
            for table in _TABLE_NAMES:
                self._connection.execute(f"DELETE FROM {table}")  # noqa: S608 (our own names)

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._connection.close()


def utc_now() -> str:
    """The time in RFC 3339, with milliseconds."""
    now = datetime.now(timezone.utc)
    return f"{now:%Y-%m-%dT%H:%M:%S}.{now.microsecond // 1000:03d}Z"
