"""A PostgreSQL server of the test's own: a temporary data directory, a free loopback port, no privileges."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

_START_SECONDS = 60.0
_STOP_SECONDS = 30.0
_SQL_SECONDS = 120.0
_PASSWORD = "the-owner-s-password"


class Postgres:
    """A running server, and its database `shop`."""

    DATABASE = "shop"

    def __init__(self, programs: Path, port: int) -> None:
        self.port = port
        self._programs = programs

    @property
    def account(self) -> dict[str, Any]:
        """How a tap reaches the server, as its owner."""
        return {"host": "127.0.0.1", "port": self.port, "user": "postgres", "password": _PASSWORD}

    def sql(self, script: str) -> str:
        """Run SQL as the database's owner; returns what it prints, a line a row."""
        return self._psql(self.DATABASE, script)

    def rows(self, query: str) -> list[dict[str, Any]]:
        """The rows of a query as PostgreSQL itself puts them into JSON, times in UTC."""
        lines = self.sql(f"select to_jsonb(q) from ({query}) q").splitlines()
        return [json.loads(line) for line in lines]

    def create_database(self) -> None:
        self._psql("postgres", f"create database {self.DATABASE}")

    def is_ready(self) -> bool:
        try:
            self._psql("postgres", "select 1")
        except AssertionError:
            return False
        return True

    def _psql(self, database: str, script: str) -> str:
        foreign = {k: v for k, v in os.environ.items() if not k.startswith("PG")}
        done = subprocess.run(
            [
                *(str(self._programs / "psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"),
                *("-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "-d", database),
                *("-f", "-"),
            ],
            input=script.encode(),
            capture_output=True,
            env=foreign | {"PGPASSWORD": _PASSWORD, "PGTZ": "UTC", "PGCLIENTENCODING": "UTF8"},
            timeout=_SQL_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"psql: {done.stderr.decode()}\n{script}"
        return done.stdout.decode()


def find_programs() -> Path:
    """The directory of `initdb`, `postgres` and `psql`, of the newest version where there are several."""
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name), reverse=True
    )
    config = shutil.which("pg_config")
    if config:
        asked = subprocess.run([config, "--bindir"], capture_output=True, text=True, check=True, timeout=10)
        found.insert(0, Path(asked.stdout.strip()))
    for path in found:
        if all((path / name).exists() for name in ("initdb", "postgres", "psql")):
            return path
    raise FileNotFoundError("PostgreSQL is not installed: apt-get install postgresql")


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """A server, from its creation to its end, with an empty database `shop`."""
    programs = find_programs()
    account = _unprivileged()
    # Not below pytest's directory, which nobody but its owner may enter.
    directory = Path(tempfile.mkdtemp(prefix="warehouse-"))
    try:
        if account:
            os.chown(directory, account["user"], account["group"])
        _make_cluster(programs, directory, account)
        with _server(programs, directory, account) as postgres:
            postgres.create_database()
            yield postgres
    finally:
        shutil.rmtree(directory)


def _unprivileged() -> dict[str, Any]:
    """For `subprocess`: who runs the server. PostgreSQL refuses root."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            account = pwd.getpwnam(name)
            return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    raise LookupError("PostgreSQL refuses to run as root, and there is no user postgres or nobody")


def _make_cluster(programs: Path, directory: Path, account: dict[str, Any]) -> None:
    password = directory / "password"
    password.write_text(_PASSWORD)
    if account:
        os.chown(password, account["user"], account["group"])
    done = subprocess.run(
        [
            *(str(programs / "initdb"), "-D", str(directory / "data"), "-U", "postgres"),
            *("--auth=scram-sha-256", f"--pwfile={password}"),
            *("--encoding=UTF8", "--locale=C", "--no-sync"),
        ],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **account,
    )
    assert done.returncode == 0, f"initdb: {done.stdout}{done.stderr}"


@contextmanager
def _server(programs: Path, directory: Path, account: dict[str, Any]) -> Iterator[Postgres]:
    port = _free_port()
    log = directory / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                *(str(programs / "postgres"), "-D", str(directory / "data"), "-F"),
                *("-h", "127.0.0.1", "-p", str(port), "-k", ""),
            ],
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            **account,
        )
    try:
        postgres = Postgres(programs, port)
        deadline = time.monotonic() + _START_SECONDS
        while not postgres.is_ready():
            story = f"PostgreSQL does not start: {log.read_text(errors='replace')}"
            assert process.poll() is None, story
            assert time.monotonic() < deadline, story
            time.sleep(0.1)
        yield postgres
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            # Its children end with it.
            process.send_signal(signal.SIGQUIT)
            process.wait(_STOP_SECONDS)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
