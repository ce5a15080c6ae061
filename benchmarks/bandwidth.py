"""How fast one thread reads memory: `python -m benchmarks.bandwidth`, told on stdin how many `bytes`.

An array of that size, as large as the weights that it stands for, is read over and over by PyTorch: multiplied by a
vector, which of its operations reads fastest. It prints bytes a second, in JSON.
"""

import json
import sys
import time
from statistics import median

import torch

_COLUMNS = 4096
_PASSES = 15
_FLOAT_BYTES = 4


def measure(size: int) -> float:
    rows = size // (_COLUMNS * _FLOAT_BYTES)
    matrix, vector = torch.ones(rows, _COLUMNS), torch.ones(_COLUMNS)
    torch.mv(matrix, vector)
    return matrix.nbytes / median(_pass_seconds(matrix, vector) for _ in range(_PASSES))


def _pass_seconds(matrix: torch.Tensor, vector: torch.Tensor) -> float:
    started = time.perf_counter()
    torch.mv(matrix, vector)
    return time.perf_counter() - started


def main() -> None:
    torch.set_num_threads(1)
    print(json.dumps(measure(json.load(sys.stdin)["bytes"])))


if __name__ == "__main__":
    main()
