"""checkov, an independent reader of the rendered chart and the image's recipe, with a short list of exceptions."""

import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from .chart import DEPLOY, VALUE_SETS, Helm

# Each rule that the chart breaks on purpose, and why.
EXCEPTIONS = {
    "CKV_K8S_11": "no CPU limit: throttling shows in p99; whoever wants one sets resources.limits.cpu",
    "CKV_K8S_15": "an image by tag or digest does not change, so it need not be pulled each time",
    "CKV_K8S_35": "secrets as environment variables only where the user of the chart asks for it (envFrom)",
    "CKV_K8S_43": "the digest is the user's to give (image.digest): it depends on where the image was built",
    "CKV2_K8S_6": "a NetworkPolicy is not yet part of the chart; docs/deployment.md says who may reach the pods",
    "CKV_DOCKER_7": "false alarm: the base has a tag, in the argument BASE, which checkov does not read",
}

# Fewer passed checks than this mean that checkov did not read what it was given.
LEAST_PASSED = 500


def check_chart(helm: Helm, python: Path) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        for values in VALUE_SETS:
            Path(folder, values.name).write_text(yaml.safe_dump_all(helm.render(values)))
        report = _checkov(python, "kubernetes", "--directory", folder)
    yield from _failures(report)
    if report["summary"]["passed"] < LEAST_PASSED:
        yield f"only {report['summary']['passed']} checks were made"


def check_dockerfile(python: Path) -> Iterator[str]:
    yield from _failures(_checkov(python, "dockerfile", "--file", str(DEPLOY / "Dockerfile")))


def _failures(report: dict[str, Any]) -> Iterator[str]:
    for failure in report["results"]["failed_checks"]:
        yield f"{failure['check_id']} {failure['check_name']}: {failure['resource']} ({failure['file_path']})"
    yield from (f"not parsed: {path}" for path in report["results"]["parsing_errors"])


def _checkov(python: Path, framework: str, *target: str) -> dict[str, Any]:
    flags = ("--skip-download", "--output", "json", "--skip-check", ",".join(EXCEPTIONS))
    done = subprocess.run(
        [str(python.parent / "checkov"), "--framework", framework, *flags, *target],
        capture_output=True,
        text=True,
        check=False,
    )
    report: dict[str, Any] = json.loads(done.stdout)
    return report
