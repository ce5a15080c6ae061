"""Check everything that is deployed: the image's recipe, the compose file and the Helm chart.

    python deploy/check.py              # all but the slow ones
    python deploy/check.py --slow       # and checkov, which takes half a minute more the first time

Needs no cluster and no container engine. Tools are fetched once, at pinned versions, into `.cache/deploy`; one that
cannot be fetched is a failure, never a skipped check. The checks themselves are in `checks/` and run in the tools'
own environment, so that this program needs nothing but Python.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from checks.toolbox import Toolbox, ToolError

DEPLOY = Path(__file__).resolve().parent


def main() -> int:
    arguments = parse_arguments()
    toolbox = Toolbox(arguments.cache)
    try:
        python = toolbox.environment("tools", hashed=True)
        helm = arguments.helm or toolbox.helm()
        checkov = toolbox.environment("checkov", hashed=False) if arguments.slow else None
    except ToolError as error:
        print(f"FAIL  tools\n      {error}", file=sys.stderr)
        return 1
    command = [str(python), "-m", "checks", "--helm", str(helm)]
    if checkov:
        command += ["--checkov", str(checkov)]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "HELM_CACHE_HOME": str(arguments.cache / "helm-cache")}
    return subprocess.run(command, cwd=DEPLOY, env=environment, check=False).returncode


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--slow", action="store_true", help="run checkov too (about 290 MB of packages, once)")
    parser.add_argument("--helm", type=Path, help="a Helm 4 of your own, instead of the pinned one")
    parser.add_argument(
        "--cache",
        type=Path,
        default=DEPLOY.parent / ".cache" / "deploy",
        help="folder of the tools (default: %(default)s)",
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
