"""What the image, the compose file and the chart tell the server are settings that it has."""

import dataclasses
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from loquor.internal import settings
from loquor_server.config import ServerConfig

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "helm" / "loquor"

FIELDS = {field.name: field for field in dataclasses.fields(ServerConfig)}
# What `settings` of the chart must not hold, because the chart itself decides it.
OWNED_BY_THE_CHART = {"address", "metrics_address", "repository", "models", "drain_delay_seconds"}


def schema_of(*path: str) -> Any:
    schema = json.loads((CHART / "values.schema.json").read_text())
    for name in path:
        schema = schema["properties"][name]
    return schema


def keys_of_the_configmap() -> set[str]:
    template = (CHART / "templates" / "_helpers.tpl").read_text()
    return set(re.findall(r"^([a-z_]+) = \{\{", template, re.MULTILINE))


def test_configmap_writes_only_settings_of_the_server() -> None:
    assert keys_of_the_configmap() == {
        "fronts",
        "replicas",
        "device",
        "dtype",
        "threads",
        "drain_seconds",
        "log_format",
    }
    assert keys_of_the_configmap() <= FIELDS.keys()


def test_arguments_of_the_pod_are_flags() -> None:
    flags = set(re.findall(r"--([a-z-]+)=", (CHART / "templates" / "_pod.tpl").read_text()))

    assert flags == {"config", "address", "metrics-address", "repository", "models"}
    assert {flag.replace("-", "_") for flag in flags - {"config"}} <= FIELDS.keys()


def test_what_the_chart_decides_is_refused_among_its_settings() -> None:
    refused = schema_of("server", "settings")["propertyNames"]["not"]["enum"]

    assert set(refused) == keys_of_the_configmap() | OWNED_BY_THE_CHART


@pytest.mark.parametrize("path", ["Dockerfile", "compose.yaml"])
def test_variables_are_settings(path: str) -> None:
    known = {variable for _, variable, _, _ in settings.describe(ServerConfig)}
    told = set(re.findall(r"^\s*(?:ENV )?(LOQUOR_[A-Z_]+)[=:]", (DEPLOY / path).read_text(), re.MULTILINE))

    assert told
    assert told <= known


@pytest.mark.parametrize(("value", "field"), [("dtype", "dtype"), ("logFormat", "log_format")])
def test_schema_offers_the_servers_choices(value: str, field: str) -> None:
    assert tuple(sorted(schema_of("server", value)["enum"])) == tuple(sorted(FIELDS[field].metadata["choices"]))


@pytest.mark.parametrize("name", ["fronts", "replicas", "threads"])
def test_schema_has_the_servers_bounds(name: str) -> None:
    schema, metadata = schema_of("server", name), FIELDS[name].metadata

    assert (schema["minimum"], schema["maximum"]) == (metadata["minimum"], metadata["maximum"])


def test_one_version_is_written_everywhere() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    chart = (CHART / "Chart.yaml").read_text()

    assert re.findall(r"^(?:version|appVersion): (.+)$", chart, re.MULTILINE) == [version, version]
    assert f"ARG VERSION={version}\n" in (DEPLOY / "Dockerfile").read_text()
    assert f"image: loquor:{version}\n" in (DEPLOY / "compose.yaml").read_text()
