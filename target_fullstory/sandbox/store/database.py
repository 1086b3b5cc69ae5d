"""The SQLite database: one connection, one writer at a time, one transaction per change."""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_TABLES = """
CREATE TABLE IF NOT EXISTS users (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    uid TEXT UNIQUE,
    display_name TEXT,
    email TEXT,
    properties BLOB NOT NULL,
    declared BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id INTEGER,
    uid TEXT,
    name TEXT NOT NULL,
    job_id TEXT,
    received TEXT NOT NULL,
    body BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS events_uid ON events (uid);
CREATE INDEX IF NOT EXISTS events_user_id ON events (user_id);
CREATE TABLE IF NOT EXISTS jobs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    status TEXT NOT NULL,
    created TEXT NOT NULL,
    due REAL,
    finished TEXT,
    operations INTEGER NOT NULL,
    done INTEGER NOT NULL DEFAULT 0,
    errors INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS jobs_in_progress ON jobs (seq) WHERE status = 'PROCESSING';
CREATE TABLE IF NOT EXISTS job_bodies (
    job INTEGER PRIMARY KEY,
    body BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS job_items (
    job INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    position INTEGER NOT NULL,
    user_id INTEGER,
    code TEXT,
    message TEXT,
    request BLOB NOT NULL,
    PRIMARY KEY (job, failed, position)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS idempotency (
    key TEXT PRIMARY KEY,
    fingerprint BLOB NOT NULL,
    kept REAL NOT NULL,
    status INTEGER NOT NULL,
    body BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS webhooks (
    id TEXT PRIMARY KEY,
    url TEXT NOT NULL,
    event_types BLOB NOT NULL,
    secret TEXT,
    enabled INTEGER NOT NULL,
    created TEXT NOT NULL,
    modified TEXT NOT NULL
);
"""
_TABLE_NAMES = ("users", "events", "jobs", "job_bodies", "job_items", "idempotency", "webhooks")
_MAX_PLACEHOLDERS = 900

Row = tuple[Any, ...]


class Database:
    """One connection that any thread may use, one at a time."""

    def __init__(self, path: str | Path | None) -> None:
        self._lock = threading.RLock()
        self._depth = 0
        if path is not None:
            # It holds records: for its owner's eyes only; SQLite's other files take after it.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        self._connection = sqlite3.connect(
            ":memory:" if path is None else path, check_same_thread=False, isolation_level=None
        )
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.executescript(_TABLES)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything within is stored together or not at all; one within another joins it."""
        with self._lock:
            if self._depth == 0:
                self._connection.execute("BEGIN IMMEDIATE")
            self._depth += 1
            try:
                yield
            except BaseException:
                self._depth -= 1
                if self._depth == 0:
                    self._connection.execute("ROLLBACK")
                raise
            self._depth -= 1
            if self._depth == 0:
                self._connection.execute("COMMIT")

    def all(self, sql: str, parameters: Iterable[Any] = ()) -> list[Row]:
        """Runs a query.

        Args:
            sql: The query.
            parameters: Values for its placeholders.

        Returns:
            All its rows.
        """
        with self._lock:
            return self._connection.execute(sql, tuple(parameters)).fetchall()

    def matching(self, sql: str, values: Iterable[Any]) -> list[Row]:
        """Runs a query for any number of values of one column.

        Args:
            sql: The query, ending in the column's name.
            values: The values.

        Returns:
            The rows in which the column has one of them.
        """
        wanted = list(values)
        rows: list[Row] = []
        for first in range(0, len(wanted), _MAX_PLACEHOLDERS):
            some = wanted[first : first + _MAX_PLACEHOLDERS]
            rows += self.all(f"{sql} IN ({', '.join('?' * len(some))})", some)
        return rows

    def one(self, sql: str, parameters: Iterable[Any] = ()) -> Row | None:
        """Runs a query of at most one row.

        Args:
            sql: The query.
            parameters: Values for its placeholders.

        Returns:
            The row, if there is one.
        """
        rows = self.all(sql, parameters)
        return rows[0] if rows else None

    def number(self, sql: str, parameters: Iterable[Any] = ()) -> int:
        """Runs a query of one number.

        Args:
            sql: The query.
            parameters: Values for its placeholders.

        Returns:
            The number.
        """
        return int(self.all(sql, parameters)[0][0])

    def write(self, sql: str, parameters: Iterable[Any] = ()) -> int:
        """Runs a statement.

        Args:
            sql: The statement.
            parameters: Values for its placeholders.

        Returns:
            How many rows it changed.
        """
        with self.transaction():
            return self._connection.execute(sql, tuple(parameters)).rowcount

    def write_many(self, sql: str, rows: Iterable[Iterable[Any]]) -> None:
        """Runs a statement once per row of values.

        Args:
            sql: The statement.
            rows: Values for its placeholders.
        """
        with self.transaction():
            self._connection.executemany(sql, rows)  # type: ignore[arg-type]

    def clear(self) -> None:
        """Empties every table."""
        with self.transaction():
            for table in _TABLE_NAMES:
                self._connection.execute(f"DELETE FROM {table}")  # noqa: S608 (our own names)

    def close(self) -> None:
        """Ends the connection."""
        with self._lock:
            self._connection.close()


def utc_now() -> str:
    """Tells the time.

    Returns:
        It, as RFC 3339 with milliseconds.
    """
    now = datetime.now(timezone.utc)
    return f"{now:%Y-%m-%dT%H:%M:%S}.{now.microsecond // 1000:03d}Z"
