"""Remake the recordings beside this file: what real taps from PyPI print, run on made-up data.

    .venv/bin/python -m tests.ecosystem.taps.record [DIRECTORY [TAP ...]]

The directory keeps the taps' environments for the next time. PostgreSQL's and MariaDB's programs are needed:
`apt-get install postgresql mariadb-server-core mariadb-client`. The taps contact nothing but this machine.
"""

from __future__ import annotations

import json
import re
import struct
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.e2e.postgres import Postgres, running_postgres
from tests.ecosystem.taps.installing import Installed, choose, install
from tests.ecosystem.taps.known import DIRECTORY, TAPS
from tests.ecosystem.taps.mariadb import running_mariadb
from tests.ecosystem.taps.served import running_web

_USERS = 6
_PORT = re.compile(r"http://127\.0\.0\.1:\d+")
_POSTGRES = (DIRECTORY.parents[1] / "e2e/two_taps.sql").read_text(encoding="utf-8")
_FULL_TABLE = {"replication-method": "FULL_TABLE"}
_AUDIT = """
create table members (id integer primary key, email text, seats integer, paid numeric(10, 2), since date);
create table diffgen (id serial primary key, tablename text, table_id text, op text, ts_created timestamptz);
insert into members values (1, 'm1@example.com', 3, 10.50, '2026-01-31'), (2, null, null, null, null);
insert into diffgen (tablename, table_id, op, ts_created) values
  ('members', '1', 'i', '2026-03-01 10:00+00'), ('members', '2', 'u', '2026-03-01 11:00+00'),
  ('members', '3', 'd', '2026-03-01 12:00+00')"""
_MARIADB = (DIRECTORY / "shop.mariadb.sql").read_text(encoding="utf-8")


def _postgres(tap: Installed, server: Postgres) -> str:
    server.sql("drop schema public cascade; create schema public")
    server.sql(_POSTGRES.replace(":users", str(_USERS)))
    config = server.account | {"dbname": server.DATABASE, "filter_schemas": "public"}
    if tap.tap.maker == "MeltanoLabs":
        config |= {"database": server.DATABASE, "filter_schemas": ["public"], "json_as_object": True}
    found = choose(tap.discover(config), public_users=_FULL_TABLE, public_events=_FULL_TABLE)
    return tap.read(config, found)


def _audit(tap: Installed, server: Postgres) -> str:
    server.sql("drop schema public cascade; create schema public")
    server.sql(_AUDIT)
    tables = [{"table_name": "members", "pk_column": "id"}]
    return tap.read(
        server.account | {"sql_dialect": "postgres", "database": server.DATABASE, "tables": tables}
    )


def _mariadb(tap: Installed, port: int) -> str:
    config = {"host": "127.0.0.1", "port": str(port), "user": "tap", "password": ""}
    users = {"replication-method": "INCREMENTAL", "replication-key": "updated_at"}
    found = choose(tap.discover(config), shop_users=users, shop_events=_FULL_TABLE)
    return tap.read(config, found)


def _gitlab(tap: Installed, web: str) -> str:
    # Its address is part of its code: nothing but that is another one.
    start = (
        "from tap_gitlab import client, main; made = client.Client.__init__\n"
        f"def make(self, config): made(self, config); self.base_url = '{web}/api/v4'\n"
        "client.Client.__init__ = make; main()"
    )
    program = (str(tap.python), "-c", start)
    config = {"private_token": "made-up", "start_date": "2026-01-01T00:00:00Z", "groups": "", "projects": "7"}
    path = tap.file("config.json", config)
    found = json.loads(tap.run("--config", path, "--discover", program=program))
    chosen = choose(found, projects={}, users={}, issues={})
    return tap.run("--config", path, "--catalog", tap.file("catalog.json", chosen), program=program)


def _rest_api(tap: Installed, web: str) -> str:
    config = {
        "url": f"{web}/contacts?page={{current_page_one_base}}",
        "streams": "contacts",
        "record_list_level": "data[*]",
        "datetime_key": "updated_at",
        "start_datetime": "2026-01-01T00:00:00",
        "end_datetime": "2026-12-31T00:00:00",
        "items_per_page": 2,
        "schema_dir": "schema",
        "catalog_dir": "catalog",
    }
    for name in ("schema", "catalog"):
        (tap.directory / name).mkdir(exist_ok=True)
    path = tap.file("config.json", config)
    tap.run("--config", path, "--infer_schema")
    catalog = json.loads((tap.directory / "catalog/catalog.json").read_text())
    return tap.read(config, catalog)


def _rest_api_msdk(tap: Installed, web: str) -> str:
    stream = {
        "name": "contacts",
        "path": "/contacts",
        "records_path": "$.data[*]",
        "primary_keys": ["id"],
        "replication_key": "updated_at",
        "num_inference_records": 4,
    }
    config = {"api_url": web, "next_page_token_path": "$.next_page", "streams": [stream]}
    return tap.read(config | {"pagination_next_page_param": "page"})


def _feed(tap: Installed, web: str) -> str:
    return tap.read(
        {
            "feed_urls": [f"{web}/feed.xml"],
            "feed_fields": ["title"],
            "feed_entry_fields": ["id", "title", "link", "author"],
            "feed_entry_replication_key": "published",
        }
    )


def _dbf(tap: Installed) -> str:
    columns = [("ID", "N", 6, 0), ("EMAIL", "C", 20, 0), ("PAID", "N", 10, 2), ("VIP", "L", 1, 0)]
    columns.append(("SINCE", "D", 8, 0))
    rows = [
        *(("1", "u1@example.com", "12.50", "T", "20260131"), ("2", "u2@example.com", "", "F", "")),
        ("3", "u3@example.com", "-3.25", "?", "20240229"),
    ]
    size = 1 + sum(length for _, _, length, _ in columns)
    head = struct.pack("<B3BIHH20x", 3, 126, 3, 1, len(rows), 33 + 32 * len(columns), size)
    for name, kind, length, decimals in columns:
        head += struct.pack("<11sc4xBB14x", name.encode(), kind.encode(), length, decimals)
    body = b"".join(
        b" " + b"".join(value.ljust(c[2]).encode() for value, c in zip(row, columns, strict=True))
        for row in rows
    )
    (tap.directory / "members.dbf").write_bytes(head + b"\r" + body + b"\x1a")
    return tap.read({"path": str(tap.directory / "members.dbf")})


def _jsonl(tap: Installed) -> str:
    """Its records stand in a file that a BATCH message names."""
    lines = [
        {"id": 1, "who": "u1", "at": "2026-03-01T10:00:00Z", "what": "Signed In", "ms": 12.5},
        {"id": 2, "who": "u1", "at": "2026-03-01T10:01:00Z", "what": "Größe gewählt", "ms": 7},
        {"id": 3, "who": "u2", "at": "2026-03-01T10:02:00Z", "what": "Searched", "q": {"term": "x"}},
    ]
    path = tap.file("log.jsonl", "".join(f"{json.dumps(line)}\n" for line in lines))
    files = tap.directory / "files"
    files.mkdir(exist_ok=True)
    batches = {
        "encoding": {"format": "jsonl", "compression": "gzip"},
        "storage": {"root": f"file://{files}", "prefix": "log-"},
    }
    printed = tap.read({"path": path, "stream_name": "log", "primary_keys": ["id"], "batch_config": batches})
    # The file goes beside the recording.
    (batch,) = files.iterdir()
    copy = DIRECTORY / f"{tap.tap.package}.batch.gz"
    copy.write_bytes(batch.read_bytes())
    batch.unlink()
    return printed.replace(str(batch), f"/data/{copy.name}")


def _spreadsheets(tap: Installed) -> str:
    text = (
        "Customer ID,E-Mail,Full name,Seats,Monthly fee,Trial?,Renews on\n"
        '1,u1@example.com,"O\'Hara, Zoë",3,12.50,true,2026-03-31\n'
        "2,u2@example.com,,,,false,\n"
        "3,u3@example.com,Größe,40,1e3,,2026-02-28\n"
    )
    file = {"path": tap.file("crm.csv", text), "format": "csv", "table_name": "crm"}
    return tap.read({"files": [file | {"primary_keys": ["customer_id"]}]})


def _dimdate(tap: Installed) -> str:
    return tap.read({"start_date": "2026-02-27", "end_date": "2026-03-02"})


def _test_data(tap: Installed) -> str:
    properties = {
        "id": {"$id": "#/properties/id", "type": "integer", "minimum": 1, "maximum": 99999},
        "uid": {"type": "string", "$generator": "#/string-type/uuid"},
        "email": {"type": "string", "$generator": "#/string-type/email"},
        "last_name": {"type": ["string", "null"], "$generator": "#/string-type/lastName"},
        "color": {"type": "string", "enum": ["green", "yellow", "red"], "$pairwise": True},
        "checked": {"type": "boolean", "$pairwise": True},
        "price": {"type": ["number", "null"], "minimum": 0.0, "maximum": 100.0},
        "born_on": {"type": "string", "format": "date", "minimum": -9000, "maximum": -7000},
        "hour": {"type": "string", "pattern": r"(1[0-2]|0[1-9])(:[0-5]\d){2} (A|P)M"},
        "size": {"$ref": "#/definitions/size"},
        "tags": {"type": "array", "additionalItems": True, "items": {"type": "string"}},
    }
    size = {"type": "object", "properties": {"width": {"type": "integer", "maximum": 9}}}
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema",
        "$id": "http://example.com/people.json",
        "type": "object",
        "required": ["id", "uid", "email"],
        "definitions": {"size": size},
        "properties": properties,
        "additionalProperties": True,
    }
    tap.file("schemas/people.json", schema)
    chosen = {"selected": True, "inclusion": "available"}
    tap.file("metadatas/people.json", [{"metadata": chosen, "breadcrumb": []}])
    (tap.directory / "repositories").mkdir(exist_ok=True)
    return tap.read(
        {
            "schema_dir": "schemas",
            "metadata_dir": "metadatas",
            "object_repository_dir": "repositories",
            "record_number": 6,
            "apply_record_number_on_pairwise": True,
            "generate_pairwise_hash": False,
        }
    )


_OF_POSTGRES: dict[str, Any] = {
    "meltanolabs-tap-postgres": _postgres,
    "pipelinewise-tap-postgres": _postgres,
    "plinxore-tap-diffgen": _audit,
}
_OF_MARIADB: dict[str, Any] = {"tap-mysql": _mariadb, "pipelinewise-tap-mysql": _mariadb}
_OF_WEB: dict[str, Any] = {
    "tap-gitlab": _gitlab,
    "tap-rest-api": _rest_api,
    "tap-rest-api-msdk": _rest_api_msdk,
    "tap-feed": _feed,
}
_OF_FILES: dict[str, Any] = {
    "tap-dbf": _dbf,
    "tap-jsonl": _jsonl,
    "tap-spreadsheets": _spreadsheets,
    "tap-dimdate": _dimdate,
    "tap-test-data-generator": _test_data,
}


def record(directory: Path, names: list[str]) -> None:
    """Remake these recordings, or all."""

    def make(recorders: dict[str, Any], *source: Any) -> None:
        for name, recorder in recorders.items():
            if not names or name in names:
                tap = install(TAPS[name], directory)
                printed = recorder(tap, *source).replace(str(tap.directory), "/data")
                printed = _PORT.sub("http://127.0.0.1:8000", printed)
                (DIRECTORY / f"{name}.jsonl").write_text(printed, encoding="utf-8")
                print(f"{name}: {len(printed.splitlines())} lines")

    def chosen(recorders: dict[str, Any]) -> bool:
        return not names or not recorders.keys().isdisjoint(names)

    make(_OF_FILES)
    with running_web() as web:
        make(_OF_WEB, web)
    if chosen(_OF_POSTGRES):
        with running_postgres() as server:
            make(_OF_POSTGRES, server)
    if chosen(_OF_MARIADB):
        with running_mariadb(_MARIADB) as port:
            make(_OF_MARIADB, port)


if __name__ == "__main__":
    place, *wanted = sys.argv[1:] or [tempfile.mkdtemp(prefix="taps-")]
    record(Path(place), wanted)
