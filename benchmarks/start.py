"""How long does the server take to be ready, against what no server could save?

The floor is one process that imports torch and reads the model's weights with safetensors. The server has to start two
processes, check every file against the manifest, connect them, and run the model once. Both sides start with the files
in the page cache.
"""

import argparse
import subprocess
import sys
import time

from benchmarks.record import Ratio, Record
from benchmarks.service import ROOT, address_of, loquor

REPOSITORY = ROOT / "models"
WEIGHTS = REPOSITORY / "minilm" / "1" / "model.safetensors"

_FLOOR = """\
import sys
import torch
from safetensors.torch import load_file
torch.set_num_threads(1)
print(sum(tensor.sum().item() for tensor in load_file(sys.argv[1]).values()))
"""


def measure_server() -> float:
    """From the command to the line that says that it is ready."""
    started = time.perf_counter()
    with loquor("--models", "minilm", repository=REPOSITORY) as server:
        address_of(server)
        return time.perf_counter() - started


def measure_floor() -> float:
    """The sum makes sure that every byte of the weights is read, which a memory map puts off."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", _FLOOR, str(WEIGHTS)], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> Record:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    flags, _ = parser.parse_known_args()
    record = Record("start", "From the command to ready, against importing torch and reading the weights")
    measure_floor()
    for turn in range(flags.rounds):
        print(f"round {turn + 1}", flush=True)
        record.note_round("loquor serve", {"seconds": measure_server()})
        record.note_round("torch and weights", {"seconds": measure_floor()})
    server, floor = (record.median(side, "seconds") for side in ("loquor serve", "torch and weights"))
    record.ratios = [Ratio("seconds to ready, against torch and weights", server / floor, at_most=1.3)]
    return record.finish()


if __name__ == "__main__":
    main()
