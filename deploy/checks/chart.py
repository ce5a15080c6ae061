"""The chart as Helm sees it: linted, rendered with every value set, and refusing values that it does not know."""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).resolve().parents[1]
CHART = DEPLOY / "helm" / "loquor"
VALUE_SETS = tuple(sorted((DEPLOY / "checks" / "values").glob("*.yaml")))
NAMESPACE = "serving"

Document = dict[str, Any]

# Values as JSON, each of which the schema must refuse.
REFUSED = (
    '{"unknown": 1}',
    '{"image": {"unknown": 1}}',
    '{"image": {"digest": "sha256:12"}}',
    '{"image": {"pullPolicy": "Sometimes"}}',
    '{"replicas": "2"}',
    '{"replicas": -1}',
    '{"server": {"drain_seconds": 5}}',
    '{"server": {"drainSeconds": 0}}',
    '{"server": {"device": "gpu"}}',
    '{"server": {"dtype": "int4"}}',
    '{"server": {"models": "minilm"}}',
    '{"server": {"models": ["a,b"]}}',
    '{"server": {"settings": {"address": "127.0.0.1:1"}}}',
    '{"server": {"settings": {"drain_seconds": 5}}}',
    '{"server": {"settings": {"drain_delay_seconds": 5}}}',
    '{"server": {"settings": {"Not A Key": 5}}}',
    '{"server": {"modelSettings": {"minilm": 2}}}',
    '{"repository": {"source": "claim", "claimName": ""}}',
    '{"repository": {"source": "hostPath"}}',
    '{"repository": {"source": "pull"}}',
    '{"repository": {"source": "nfs"}}',
    '{"securityContext": {"runAsUser": 0}}',
    '{"securityContext": {"runAsGroup": 999}}',
    '{"securityContext": {"privileged": true}}',
    '{"termination": {"preStopSeconds": 0}}',
    '{"termination": {"gracePeriodSeconds": 30}}',
    '{"probes": {"liveness": {"path": "/"}}}',
    '{"gpu": {"count": 0.5}}',
    '{"tmp": {"sizeLimit": "lots"}}',
    '{"env": {"OMP_NUM_THREADS": 2}}',
    '{"tolerations": [{"unknown": "x"}]}',
)


@dataclass(frozen=True)
class Helm:
    program: Path

    def version(self) -> str:
        return self._run("version", "--short").stdout.strip()

    def lint(self, values: Path) -> str:
        """What lint has against the chart with these values, or nothing."""
        done = self._run("lint", "--strict", "--quiet", str(CHART), "--namespace", NAMESPACE, "--values", str(values))
        return (done.stdout + done.stderr).strip() if done.returncode else ""

    @cache  # noqa: B019 - one Helm a run, and rendering is the slow part
    def render(self, values: Path, changed: str = "{}") -> list[Document]:
        """The documents of the chart with a file of values, and with the JSON object `changed` on top."""
        done = self._template("--values", str(values), *_as_flags(changed))
        if done.returncode:
            raise RuntimeError(f"helm template with {values.name}: {done.stderr.strip()}")
        return [document for document in yaml.safe_load_all(done.stdout) if document]

    def refusal(self, values: str) -> str:
        """What is said to a JSON object of values; empty if they are taken."""
        done = self._template(*_as_flags(values))
        return done.stderr.strip() if done.returncode else ""

    def notes(self, values: Path) -> str:
        """NOTES.txt, which only a dry run of an installation shows."""
        flags = ("--dry-run=client", "--values", str(values))
        return self._run("install", "loquor", str(CHART), "--namespace", NAMESPACE, *flags).stdout.partition("NOTES:")[
            2
        ]

    def _template(self, *flags: str) -> "subprocess.CompletedProcess[str]":
        return self._run("template", "loquor", str(CHART), "--namespace", NAMESPACE, *flags)

    def _run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run([str(self.program), *arguments], capture_output=True, text=True, check=False, timeout=60)


def _as_flags(values: str) -> list[str]:
    return [flag for key, value in json.loads(values).items() for flag in ("--set-json", f"{key}={json.dumps(value)}")]


def check_version(helm: Helm, wanted: str) -> Iterator[str]:
    if not helm.version().startswith("v" + wanted.split(".")[0] + "."):
        yield f"helm is {helm.version() or 'not running'}; the chart is checked with {wanted}"


def check_lint(helm: Helm) -> Iterator[str]:
    for values in VALUE_SETS:
        if complaint := helm.lint(values):
            yield f"{values.name}: {complaint}"


def check_refusals(helm: Helm) -> Iterator[str]:
    for values in REFUSED:
        refusal = helm.refusal(values)
        if "values don't meet the specifications of the schema" not in refusal:
            yield f"{values} should be refused by values.schema.json, but: {refusal or 'it is taken'}"
