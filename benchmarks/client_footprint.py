"""What does the client cost somebody who only calls: seconds to import, bytes on the disk?

The client alone is installed from this working tree into a folder of its own, as `pip install loquor` does. Without
extras it brings grpcio and protobuf.
"""

import argparse
import shutil
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.record import Ratio, Record
from benchmarks.service import CACHE, ROOT

_FOLDER = CACHE / "client"


def install() -> None:
    """Into an empty folder, without pip and without compiled bytecode of others."""
    shutil.rmtree(_FOLDER, ignore_errors=True)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(_FOLDER), str(ROOT)]
    subprocess.run(command, check=True)


def megabytes(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6


def seconds_of(code: str) -> float:
    """Wall time of a fresh interpreter that sees the installed client alone."""
    started = time.perf_counter()
    command = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(_FOLDER)!r})\n{code}"]
    subprocess.run(command, check=True)
    return time.perf_counter() - started


def main() -> Record:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    flags, _ = parser.parse_known_args()
    record = Record("client_footprint", "The client: time to import, size installed")
    install()
    seconds_of("import loquor")
    for turn in range(flags.rounds):
        print(f"round {turn + 1}", flush=True)
        record.note_round("bare interpreter", {"seconds": seconds_of("pass")})
        record.note_round("import grpc", {"seconds": seconds_of("import grpc")})
        record.note_round("import loquor", {"seconds": seconds_of("import loquor")})
        record.note_round("and its client", {"seconds": seconds_of("from loquor import AsyncClient, Client")})
    bare, ours = (record.median(side, "seconds") for side in ("bare interpreter", "and its client"))
    size = megabytes(_FOLDER)
    record.ratios = [
        Ratio("seconds of `from loquor import AsyncClient, Client`", ours - bare, at_most=0.3),
        Ratio("megabytes installed", size, at_most=30),
    ]
    parts = sorted(((megabytes(part), part.name) for part in _FOLDER.iterdir() if part.is_dir()), reverse=True)
    record.notes.append("largest: " + ", ".join(f"{name} {size:.1f} MB" for size, name in parts[:4]))
    return record.finish()


if __name__ == "__main__":
    main()
