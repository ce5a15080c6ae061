"""The engine's own loss on given windows of tokens: `python -m benchmarks.engine_loss`, told on stdin.

Told: `model` (a folder), `dtype` and `windows`. It prints, in JSON, the mean negative log-likelihood of each window's
tokens but the first, each from those before it, as the engine's forward pass gives it, through its KV cache.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch

from loquor_worker.engines.load_generator import DEFAULTS, INT8, language_model
from loquor_worker.generation.limits import GeneratorSettings
from loquor_worker.models.assembly import Assembly
from loquor_worker.models.language_model import LanguageModel
from loquor_worker.models.paged_batch import PagedBatch


def load(folder: Path, dtype: str) -> LanguageModel:
    computes = torch.float32 if dtype == INT8 else getattr(torch, dtype)
    assembly = Assembly(folder, torch.device("cpu"), computes)
    return language_model(assembly, GeneratorSettings(), DEFAULTS["cpu"], in_int8=dtype == INT8)


@torch.inference_mode()
def loss(model: LanguageModel, window: list[int]) -> float:
    size = model.cache.block_tokens
    blocks = list(range(-(-len(window) // size)))
    ids = np.array(window, dtype=np.int64)
    logits = model.logits(ids, PagedBatch([len(window)], [0], [blocks], size), np.arange(len(window)))
    return torch.nn.functional.cross_entropy(logits[:-1].double(), torch.from_numpy(ids[1:])).item()


def main() -> None:
    told = json.load(sys.stdin)
    torch.set_num_threads(1)
    model = load(Path(told["model"]), told["dtype"])
    print(json.dumps([loss(model, window) for window in told["windows"]]))


if __name__ == "__main__":
    main()
