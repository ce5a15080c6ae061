"""The image's recipe and the compose file: hadolint, the schema of the Compose Specification, and what we promise.

Neither is built or started here: that needs a container engine.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from .chart import DEPLOY

DOCKERFILE = DEPLOY / "Dockerfile"
COMPOSE = DEPLOY / "compose.yaml"
PROGRAMS = Path(sys.executable).parent

# What the final stage must say; each is a promise of docs/deployment.md.
IMAGE_PROMISES = (
    r"^ARG BASE=\S+:\S+$",
    r"^USER 10001:10001$",
    r"^STOPSIGNAL SIGTERM$",
    r'^ENTRYPOINT \["loquor", "serve"\]$',
    r"^HEALTHCHECK ",
    r"^LABEL org\.opencontainers\.image\.title=",
    r"LOQUOR_ADDRESS=0\.0\.0\.0:8001",
    r"LOQUOR_METRICS_ADDRESS=0\.0\.0\.0:8002",
)
COMPILERS = re.compile(r"\b(gcc|g\+\+|build-essential|clang|cmake|rustc)\b")


def check_hadolint() -> Iterator[str]:
    """No rule is ignored, here or in the file."""
    done = _run("hadolint", "--no-color", "--disable-ignore-pragma", "--failure-threshold", "style", str(DOCKERFILE))
    if done.returncode:
        yield (done.stdout + done.stderr).strip()


def check_that_hadolint_sees() -> Iterator[str]:
    """A recipe that is wrong on purpose."""
    done = _run("hadolint", "-", text="FROM debian\nRUN cd /tmp && sudo ls\n")
    if done.returncode == 0 or "DL3006" not in done.stdout:
        yield "hadolint takes a base without a tag"


def check_image() -> Iterator[str]:
    recipe = DOCKERFILE.read_text()
    _, _, final = recipe.rpartition("\nFROM ")
    for promise in IMAGE_PROMISES:
        if not re.search(promise, recipe if "BASE" in promise else final, re.MULTILINE):
            yield f"nothing in the recipe is {promise}"
    if COMPILERS.search(final):
        yield "the final stage holds a compiler"


def check_compose_schema() -> Iterator[str]:
    done = _run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(COMPOSE))
    if done.returncode:
        yield (done.stdout + done.stderr).strip()


def check_compose() -> Iterator[str]:
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    server = services["server"]
    for name, service in services.items():
        if not (
            service["read_only"]
            and service["cap_drop"] == ["ALL"]
            and "no-new-privileges:true" in service["security_opt"]
        ):
            yield f"{name} is not hardened"
    if not all(port.startswith("127.0.0.1:") for port in server["ports"]):
        yield f"other machines reach {server['ports']}"
    if server["volumes"] != ["models:/models:ro"] or "profiles" not in services["pull"]:
        yield "the server could write to the models, or `up` pulls"
    drain, grace = (
        int(server["environment"]["LOQUOR_DRAIN_SECONDS"]),
        int(server["stop_grace_period"].removesuffix("s")),
    )
    if grace < drain + 20:
        yield f"stop_grace_period is {grace} s, with a drain of {drain} s"


def check_values_schema() -> Iterator[str]:
    """Every object of the schema refuses what it does not name, and is itself a schema."""
    path = DEPLOY / "helm" / "loquor" / "values.schema.json"
    done = _run("check-jsonschema", "--check-metaschema", str(path))
    if done.returncode:
        yield (done.stdout + done.stderr).strip()
    yield from _open_objects(json.loads(path.read_text()), "")


# Objects that are Kubernetes' or Helm's own.
AFFINITIES = ("nodeAffinity", "podAffinity", "podAntiAffinity")
OPEN = {"/properties/global", *(f"/properties/affinity/properties/{kind}" for kind in AFFINITIES)}


def _open_objects(schema: Any, path: str) -> Iterator[str]:
    if isinstance(schema, dict):
        if schema.get("type") == "object" and "additionalProperties" not in schema and path not in OPEN:
            yield f"{path} takes any key"
        for key, part in schema.items():
            yield from _open_objects(part, f"{path}/{key}")


def _run(program: str, *arguments: str, text: str = "") -> "subprocess.CompletedProcess[str]":
    command = [str(PROGRAMS / program), *arguments]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False)
