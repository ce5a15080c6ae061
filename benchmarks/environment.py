"""A virtual environment that a benchmark makes for what it compares with, once, under .cache/benchmarks/."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.service import CACHE


def python_with(name: str, requirements: Sequence[str], build: Mapping[str, str] | None = None) -> Path:
    """The interpreter of the environment `name`, made with these requirements if it is not there.

    `build` are variables for what is built from source.
    """
    folder = CACHE / name
    python = folder / "bin" / "python"
    done = folder / "requirements.txt"
    variables = dict(build or {})
    wanted = "\n".join([*requirements, *(f"{name}={value}" for name, value in variables.items())])
    if not done.exists() or done.read_text() != wanted:
        print(f"installing {', '.join(requirements)} into {folder}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        command = [str(python), "-m", "pip", "install", "--quiet", *requirements]
        subprocess.run(command, check=True, env=os.environ | variables)
        done.write_text(wanted)
    return python
