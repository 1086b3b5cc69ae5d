"""Settings: defaults, limits, and the words of their errors."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from target_fullstory.errors import ConfigurationError
from target_fullstory.mapping.spec import Mark
from target_fullstory.settings.environment import from_environment
from target_fullstory.settings.load_settings import load_settings
from target_fullstory.settings.model import JSON_SCHEMA, Settings
from tests import executable
from tests.conftest import USERS


def load(**config: Any) -> Settings:
    return load_settings({"api_key": "secret-key"} | config)


def test_defaults_are_those_of_the_schema() -> None:
    settings = load()
    for name, schema in JSON_SCHEMA["properties"].items():
        if name not in {"api_key", "streams"}:
            assert getattr(settings, name) == schema["default"], name


def test_every_setting_is_documented_and_has_a_type() -> None:
    for name, schema in JSON_SCHEMA["properties"].items():
        assert schema["description"], name
        assert schema["type"], name


def _mirror(vanished: Any) -> dict[str, Any]:
    return {"kind": "users", "sync": "mirror", "vanished": vanished}


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"batch_size_rows": 50_001}, "batch_size_rows is 50001"),
        ({"batch_size_rows": 0}, "batch_size_rows"),
        ({"concurrency": "many"}, "concurrency"),
        ({"delivery": "both"}, "delivery"),
        ({"api_key": None}, "api_key is missing"),
        ({"api_key": "  "}, "api_key is missing"),
        ({"api_url": "http://example.com"}, "plain http"),
        ({"api_url": "ftp://example.com"}, "api_url"),
        ({"api_url": "https://user:word@example.com"}, "api_url"),
        ({"api_url": "api.example.com"}, "api_url"),
        ({"max_rejected_percent": float("nan")}, "max_rejected_percent is nan"),
        ({"max_rejected_percent": "-inf"}, "max_rejected_percent is -inf"),
        ({"retry_max_seconds": "NaN"}, "retry_max_seconds is not valid"),
        ({"job_timeout_seconds": float("inf")}, "job_timeout_seconds is inf"),
        ({"resend_after_days": 0}, "resend_after_days is 0, .* leave out `sync`"),
        ({"resend_after_days": "soon"}, "resend_after_days is not valid"),
        ({"keep_events_days": 0}, "keep_events_days is not valid"),
        ({"keep_events_days": None}, "keep_events_days is not valid"),
        ({"max_vanished_percent": 100.5}, "max_vanished_percent is 100.5; .* at most 100 percent"),
        ({"max_changed_percent": "200"}, "max_changed_percent is 200; .* at most 100 percent"),
        ({"max_changed_percent": float("nan")}, "max_changed_percent is nan"),
        ({"snapshot_path": "a\0b"}, "snapshot_path holds a NUL character"),
        ({"streams": []}, None),
        ({"streams": {"a": {"kind": "user"}}}, "streams.a.kind .* did you mean 'users'"),
        ({"streams": {"a": {"kind": "users", "feilds": {}}}}, "did you mean 'fields'"),
        ({"streams": {"a": {"fields": {"uid": "id"}}}}, "streams.a.kind is missing"),
        ({"streams": {"a": "users"}}, "streams.a is to be an object"),
        ({"streams": "users"}, "streams is to be an object"),
        (
            {"streams": {"a": {"kind": "users", "sync": "change"}}},
            "streams.a.sync is to be all, changed or mirror, not 'change'; did you mean 'changed'",
        ),
        ({"streams": {"a": {"kind": "users", "sync": None}}}, "sync is to be .* or mirror, not None"),
        (
            {"streams": {"a": _mirror("drop")}},
            "streams.a.vanished is to be delete, or {mark: {property: value}}, not 'drop'",
        ),
        ({"streams": {"a": _mirror({"delete": True})}}, "vanished.delete is no key of vanished; .* mark"),
        ({"streams": {"a": _mirror({"mark": True})}}, "a.vanished.mark is not valid: Expected .object"),
        ({"streams": {"a": _mirror({})}}, "streams.a.vanished is not valid: .* missing .* .mark"),
        ({"streams": {"a": _mirror("delete") | {"full_table": "all"}}}, "streams.a.full_table is not valid"),
        ({"streams": {"a": {"kind": "events", "identity": "id"}}}, "a.identity is not valid: Expected .list"),
        ({"streams": {"a": {"kind": "users", "snyc": "all"}}}, "snyc is no mapping key; did you mean 'sync'"),
        ({"streams": {"a": {"kind": "users", "exclude": "ssn"}}}, "streams.a.exclude"),
        ({"streams": {"a": {"kind": "users", "fields": {"emial": "e"}}}}, "emial.*id you mean 'email'"),
    ],
)
def test_a_mistake_is_named(config: dict[str, Any], says: str | None) -> None:
    if says is None:
        load(**config)
        return
    with pytest.raises(ConfigurationError, match=says) as error:
        load(**config)
    assert "secret-key" not in str(error.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://localhost", "http://[::1]:8765"])
def test_plain_http_is_for_loopback(url: str) -> None:
    assert load(api_url=url).api_url == url


def test_the_sandbox_needs_no_key() -> None:
    assert load_settings({"api_url": "sandbox"}).api_key is None


def test_strings_from_the_environment_become_numbers() -> None:
    settings = load(concurrency="8", job_poll_interval_seconds="0.5", wait_for_jobs="false")
    assert (settings.concurrency, settings.job_poll_interval_seconds) == (8, 0.5)
    assert settings.wait_for_jobs is False


@pytest.mark.parametrize(("value", "means"), [(None, None), (-1, None), (0, 0), (5, 5)])
def test_forms_of_no_limit_to_rejects(value: int | None, means: int | None) -> None:
    assert load(max_rejected_records=value).max_rejected_records == means


@pytest.mark.parametrize(("value", "means"), [(None, None), ("", None), ("block", "block")])
def test_forms_of_no_state_block(value: str | None, means: str | None) -> None:
    assert load(state_key=value).state_key == means


@pytest.mark.parametrize("name", ["resend_after_days", "max_vanished_percent", "max_changed_percent"])
@pytest.mark.parametrize(("value", "means"), [(None, None), (-1, None), ("-1", None), (7, 7), ("7", 7)])
def test_forms_of_no_limit_to_what_changed(name: str, value: Any, means: int | None) -> None:
    assert getattr(load(**{name: value}), name) == means


@pytest.mark.parametrize(
    ("value", "means"),
    [
        (None, None),
        ("", None),
        ("state/fullstory", "state/fullstory"),
        ("sftp://me@host/x", "sftp://me@host/x"),
    ],
)
def test_forms_of_the_default_place_of_the_snapshot(value: str | None, means: str | None) -> None:
    assert load(snapshot_path=value).snapshot_path == means


def test_keys_split_at_their_dots_mean_the_same() -> None:
    whole = load(
        streams={
            "public.orders": {
                "kind": "events",
                "fields": {
                    "name": {"const": "Order"},
                    "user.uid": {"template": "u{id}"},
                    "context.browser.url": "url",
                },
            }
        }
    )
    split = load(
        streams={
            "public": {
                "orders": {
                    "kind": "events",
                    "fields": {
                        "name": {"const": "Order"},
                        "user": {"uid": {"template": "u{id}"}},
                        "context": {"browser": {"url": "url"}},
                    },
                }
            }
        }
    )
    assert split.streams == whole.streams


@pytest.mark.parametrize(
    "mark",
    [
        {"churned": True, "left.on.day": "2026-01-05", "left.why": ["a"]},
        {"churned": True, "left": {"on": {"day": "2026-01-05"}, "why": ["a"]}},
        {"churned": True, "left": {"why": ["a"]}, "left.on.day": "2026-01-05"},
    ],
)
def test_properties_of_the_vanished_may_be_split_at_their_dots(mark: dict[str, Any]) -> None:
    whole = {"churned": True, "left": {"on": {"day": "2026-01-05"}, "why": ["a"]}}
    crm = load(streams={"crm": {"people": _mirror({"mark": mark})}}).streams["crm.people"]
    assert crm.vanished == Mark(mark=whole)
    assert crm.sync == "mirror"


def test_a_mapping_of_a_sync_mode_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    # The two forms in which Meltano passes an object.
    split = {"kind": "users", "sync": "mirror", "full_table": True, "vanished.mark.churned": True}
    for streams in (
        {f"crm.{key}": value for key, value in split.items()},
        {"crm": _mirror({"mark": {"churned": True}}) | {"full_table": True}},
    ):
        monkeypatch.setenv("TARGET_FULLSTORY_STREAMS", json.dumps(streams))
        config = from_environment({"properties": {}})
        (spec,) = load(**config).streams.values()
        assert (spec.sync, spec.vanished, spec.full_table) == ("mirror", Mark(mark={"churned": True}), True)


def test_what_a_file_may_show_of_the_configuration() -> None:
    config = {
        "api_key": "secret-key",
        "apikey": "secret-key",
        "batch_config": {"storage": {"root": "s3://user:secret-key@bucket"}},
        "flattening_enabled": True,
        "job_poll_interval_seconds": "0.5",
    }
    seen = load_settings(config).redacted(config)
    assert "secret-key" not in str(seen)
    assert seen["api_key"] == "****"
    assert (seen["flattening_enabled"], seen["job_poll_interval_seconds"]) == (True, 0.5)


@pytest.mark.parametrize("name", ["api_key", "integration_source"])
@pytest.mark.parametrize("value", ["schl\u00fcssel", "a\nb", "\u20ac"])
def test_what_no_header_can_carry_is_refused(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} has a character") as error:
        load(**{name: value})
    assert value not in str(error.value)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"output_dir": "a\0b"}, "NUL"),
        ({"output_dir": "a\ud800"}, "surrogate"),
        ({"state_key": "\ud800"}, "surrogate"),
        ({"streams": {"\ud800": {"kind": "users"}}}, "surrogate"),
        ({"state_key": "bookmarks"}, "state_key"),
        ({"max_open_bytes": 1000}, "max_open_bytes"),
    ],
)
def test_what_no_path_and_no_state_can_hold_is_refused(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        load_settings({"api_url": "sandbox"} | settings)


@pytest.mark.parametrize(("value", "shown"), [("1e400", "inf"), ("-1e400", "-inf"), (None, "nan")])
def test_a_number_that_is_not_finite_ends_the_run(
    value: str | None, shown: str, config: dict[str, Any], tmp_path: Path
) -> None:
    """From a file, whose numbers may be too large for one; else from the environment, which says nan."""
    member = f', "max_rejected_percent": {value}' if value else ""
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config | {"api_url": "http://127.0.0.1:1"})[:-1] + member + "}")
    environment = os.environ | ({} if value else {"TARGET_FULLSTORY_MAX_REJECTED_PERCENT": "nan"})
    done = executable.fork(
        ["--config", str(path), "--config", "ENV"],
        f"{USERS}\n".encode(),
        directory=tmp_path,
        environment=environment,
    )
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = (line for line in done.stderr.splitlines() if "| ERROR" in line)
    assert f"Setting max_rejected_percent is {shown}; it has to be a finite number" in line


@pytest.mark.parametrize(
    "path",
    [
        "s3://AKIA:hidden@bucket/path",
        "s3://AKIA:hid/den@bucket/path",
        "sftp://user:hidden@example.com/path",
        "s3://bucket/path?secret=hidden",
        "s3://bucket/path#hidden",
        "filecache::s3://bucket/hidden",
        "://hidden",
        "s3://[hidden/",
        "s3://hid\nden/",
    ],
)
def test_an_address_of_snapshots_with_credentials_is_refused_without_being_shown(path: str) -> None:
    with pytest.raises(ConfigurationError, match="snapshot_path") as told:
        load(snapshot_path=path)
    assert "hid" not in str(told.value)


@pytest.mark.parametrize(
    "path",
    ["s3://bucket/path", "abfs://container@account.dfs.core.windows.net/p", "C:\\snapshots", "a/b@c:d"],
)
def test_places_of_snapshots(path: str) -> None:
    assert load(snapshot_path=path).snapshot_path == path
