"""Every check in its order, each with its result; exits with 1 if any failed. `deploy/check.py` starts it."""

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

from . import chart, image, promises, schemas, security
from .toolbox import HELM_VERSION

Check = tuple[str, Callable[[], Iterable[str]]]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--helm", type=Path, required=True)
    parser.add_argument("--checkov", type=Path, help="Python of the environment that holds checkov")
    arguments = parser.parse_args()
    helm = chart.Helm(arguments.helm)
    print(f"helm {helm.version()}; Kubernetes {', '.join(schemas.VERSIONS)}; {len(chart.VALUE_SETS)} value sets")
    failed = [name for name, check in all_checks(helm, arguments.checkov) if not passes(name, check)]
    if not arguments.checkov:
        print("not run: checkov (--slow)")
    print(f"{len(failed)} failed: {', '.join(failed)}" if failed else "all passed")
    return 1 if failed else 0


def all_checks(helm: chart.Helm, checkov: Path | None) -> Iterator[Check]:
    yield "hadolint", image.check_hadolint
    yield "hadolint sees a bad recipe", image.check_that_hadolint_sees
    yield "image: promises", image.check_image
    yield "compose: schema", image.check_compose_schema
    yield "compose: promises", image.check_compose
    yield "values.schema.json is strict", image.check_values_schema
    yield "helm version", partial(chart.check_version, helm, HELM_VERSION)
    yield "helm lint", partial(chart.check_lint, helm)
    yield f"values: {len(chart.REFUSED)} refusals", partial(chart.check_refusals, helm)
    for version in schemas.VERSIONS:
        yield f"schemas of Kubernetes {version}", partial(schemas.check_documents, helm, version)
        yield f"schemas of Kubernetes {version} see errors", partial(schemas.check_that_errors_are_seen, helm, version)
    for promise in promises.PROMISES:
        yield f"chart: {promise.__name__}", partial(promises.check_promise, helm, promise)
    yield "chart: settings restart pods", partial(promises.check_that_settings_restart, helm)
    yield "chart: choices", partial(promises.check_choices, helm)
    yield "chart: notes", partial(promises.check_notes, helm)
    if checkov:
        yield "checkov: chart", partial(security.check_chart, helm, checkov)
        yield "checkov: image", partial(security.check_dockerfile, checkov)


def passes(name: str, check: Callable[[], Iterable[str]]) -> bool:
    """Run a check and print its result. One that breaks has failed, and the others are still run."""
    started = time.monotonic()
    try:
        complaints = list(check())
    except Exception as error:
        complaints = [f"{type(error).__name__}: {error}"]
    print(f"{'FAIL' if complaints else 'ok  '}  {name} ({time.monotonic() - started:.1f} s)", flush=True)
    for complaint in complaints:
        print("      " + complaint.replace("\n", "\n      "))
    return not complaints


if __name__ == "__main__":
    sys.exit(main())
