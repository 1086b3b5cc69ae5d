"""The definition for Meltano Hub: of the form that the hub takes, and the same as everywhere else."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.ecosystem.project import ROOT, about, loader


def _words(text: str) -> set[str]:
    return set(text.split())


PLUGIN_KEYS = _words(
    """
    capabilities commands definition description dialect docs domain_url executable hidden keywords label
    log_parser logo_url maintenance_status name namespace next_steps pip_url prereq python quality repo
    requires settings settings_group_validation settings_preamble supported_python_versions target_schema
    usage variant
    """
)
"""What the hub's schema of loaders allows, here and below."""
SETTING_KEYS = _words(
    """
    aliases description docs documentation env hidden kind label name oauth options placeholder sensitive
    tooltip value value_post_processor value_processor
    """
)
KINDS = _words(
    """
    array boolean date_iso8601 decimal email file hidden integer oauth object options password string
    """
)
CAPABILITIES = _words(
    """
    about activate-version batch datatype-failsafe hard-delete schema-flattening soft-delete stream-maps
    structured-logging target-schema validate-records
    """
)


@pytest.fixture(scope="module")
def definition() -> dict[str, Any]:
    text = (ROOT / "hub/target-fullstory.yml").read_text(encoding="utf-8")
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def test_the_hub_would_take_it(definition: dict[str, Any]) -> None:
    assert definition.keys() <= PLUGIN_KEYS
    assert definition.keys() >= {"name", "namespace", "variant", "quality"}
    assert definition["quality"] in {"gold", "silver", "bronze", "unknown"}
    assert definition["maintenance_status"] in {"active", "beta", "development", "inactive"}
    assert set(definition["capabilities"]) <= CAPABILITIES
    for setting in definition["settings"]:
        assert setting.keys() <= SETTING_KEYS, setting["name"]
        assert setting["kind"] in KINDS, setting["name"]
        for option in setting.get("options", []):
            assert option.keys() == {"label", "value"}, setting["name"]
    names = {setting["name"] for setting in definition["settings"]}
    for group in definition["settings_group_validation"]:
        assert set(group) <= names


@pytest.mark.parametrize("key", ["name", "namespace", "executable", "capabilities", "commands", "settings"])
def test_it_agrees_with_meltano_yml(definition: dict[str, Any], key: str) -> None:
    assert definition[key] == loader()[key]


def test_it_agrees_with_about(definition: dict[str, Any]) -> None:
    told = about()
    assert definition["name"] == told["name"]
    assert definition["capabilities"] == told["capabilities"]
    assert definition["supported_python_versions"] == told["supported_python_versions"]
    inner = [s["name"] for s in definition["settings"] if "." in s["name"]]
    names = [s["name"] for s in definition["settings"] if s["name"] not in inner]
    assert names == list(told["settings"]["properties"])
    secret = {n for n, s in told["settings"]["properties"].items() if s.get("secret")}
    sensitive = {s["name"] for s in definition["settings"] if s.get("sensitive")}
    assert sensitive == secret | set(inner)
