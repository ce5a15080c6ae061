"""A program that reads in JSON what to run and prints in JSON what came of it: run to its end, on one thread."""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.service import ROOT


def answer(command: Sequence[str], told: Mapping[str, Any]) -> Any:
    """The last line of what it prints. Raises `CalledProcessError` if it fails."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"}
    done = subprocess.run(
        command, cwd=ROOT, input=json.dumps(told), text=True, stdout=subprocess.PIPE, check=True, env=environment
    )
    return json.loads(done.stdout.splitlines()[-1])
