"""The settings are told in three places; they agree."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from meltano.core.setting_definition import SettingDefinition, json_dumps

from target_fullstory.settings.webhook_settings import SECRETS
from tests.ecosystem.project import ROOT, about, loader

KINDS = {
    "string": "string",
    "integer": "integer",
    # Of a variable for a `decimal`, Meltano 4.4 makes a Decimal, which it cannot write as JSON.
    "number": "integer",
    "boolean": "boolean",
    "object": "object",
    "array": "array",
}


@pytest.fixture(scope="module")
def declared() -> dict[str, Any]:
    settings: dict[str, Any] = about()["settings"]["properties"]
    return settings


def test_meltano_names_kinds_and_defaults(declared: dict[str, Any]) -> None:
    settings = [setting for setting in loader()["settings"] if "." not in setting["name"]]
    listed = {setting["name"]: setting for setting in settings}
    assert list(listed) == list(declared)
    for name, setting in declared.items():
        types = setting["type"] if isinstance(setting["type"], list) else [setting["type"]]
        (kind,) = (KINDS[kind] for kind in types if kind != "null")
        meltano = listed[name]
        assert meltano["kind"] == ("options" if "enum" in setting else kind), name
        options = [option["value"] for option in meltano.get("options", [])]
        assert sorted(options) == sorted(setting.get("enum", [])), name
        assert meltano.get("sensitive", False) == setting.get("secret", False), name
        assert meltano["label"], name
        assert meltano["description"], name
        # Meltano drops a null, so a setting whose default is null has none there.
        expected = setting.get("default")
        assert meltano.get("value") == (None if expected == {} else expected), name


def test_meltano_can_pass_a_number_from_a_variable_on(declared: dict[str, Any]) -> None:
    numbers = [
        name for name, setting in declared.items() if {"number", "integer"}.intersection(setting["type"])
    ]
    assert {"max_rejected_percent", "max_vanished_percent", "max_changed_percent"} <= set(numbers)
    listed = {setting["name"]: setting for setting in loader()["settings"]}
    for name in numbers:
        value = SettingDefinition.parse(listed[name]).cast_value("7")
        assert json_dumps({name: value}) == f'{{"{name}": 7}}', name


def test_meltano_knows_the_secrets_inside_a_setting() -> None:
    # So Meltano hides them, and takes them from the environment, variable by variable.
    inner = [setting for setting in loader()["settings"] if "." in setting["name"]]
    names = {f"response_webhook.auth.{name}" for name in SECRETS}
    assert {setting["name"] for setting in inner} == names
    assert all(setting["kind"] == "string" and setting["sensitive"] for setting in inner)


def test_meltano_capabilities() -> None:
    assert loader()["capabilities"] == about()["capabilities"]


def test_readme_table(declared: dict[str, Any]) -> None:
    section = (ROOT / "README.md").read_text(encoding="utf-8").partition("\n## Settings\n")[2]
    section = section.partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (\S+) \| (.+) \|$", section, re.MULTILINE)
    assert [name for name, _, _ in rows] == list(declared)
    for name, cell, meaning in rows:
        default = declared[name].get("default")
        assert meaning, name
        if default is None:
            assert cell == "\N{EN DASH}", name
        elif isinstance(default, str):
            assert cell == f"`{default}`", name
        else:
            assert json.loads(cell.strip("`")) == default, name
