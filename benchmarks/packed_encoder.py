"""How much do packed batches gain over padded ones, and which token budget is enough? One thread, one run.

Seconds are the thread's own CPU time, so that a busy machine disturbs them little.

    OMP_NUM_THREADS=1 python -m benchmarks.packed_encoder --folder models/minilm/1
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import transformers
from tokenizers import Tokenizer

from benchmarks.record import Ratio, Record
from benchmarks.service import ROOT
from benchmarks.texts import real_texts
from loquor.internal.v1.replica_service_pb2 import Submission, TokenInput
from loquor_worker.engines import Engine
from loquor_worker.engines.load import load_engine
from loquor_worker.models import onednn

MODEL = ROOT / "models" / "minilm" / "1"
BUDGETS = (128, 256, 512, 1024, 2048, 4096)
PADDED_BATCH = 32
ARRIVAL, PRODUCTS, OURS = "padded, 32 in order of arrival", "matrix products alone, 512 rows", "packed, 1024 tokens"


def load(folder: Path) -> Engine:
    engine = load_engine(
        folder, task="embed", device="cpu", dtype="float32", max_batch_tokens=None, max_sequence_tokens=None
    )
    engine.warm()
    return engine


def packed(engine: Engine, texts: list[list[int]], budget: int) -> None:
    """Batches in order of arrival, as many texts as the budget takes."""
    batch: list[Submission] = []
    tokens = 0
    for ids in texts:
        if batch and tokens + len(ids) > budget:
            engine.step(batch)
            batch, tokens = [], 0
        batch.append(Submission(tokens=TokenInput(ids=ids)))
        tokens += len(ids)
    engine.step(batch)


@torch.inference_mode()
def padded(model: Any, texts: list[list[int]], size: int) -> None:
    for start in range(0, len(texts), size):
        batch = texts[start : start + size]
        longest = max(map(len, batch))
        ids = torch.tensor([text + [0] * (longest - len(text)) for text in batch])
        mask = torch.tensor([[1] * len(text) + [0] * (longest - len(text)) for text in batch])
        hidden = model(input_ids=ids, attention_mask=mask).last_hidden_state
        mean = (hidden * mask.unsqueeze(-1)).sum(dim=1) / mask.sum(dim=1, keepdim=True)
        torch.nn.functional.normalize(mean).numpy()


@torch.inference_mode()
def products(model: Any, texts: list[list[int]], rows: int) -> None:
    """As many rows as the texts have tokens, through torch's own product with every weight."""
    weights = [module.weight for module in model.encoder.modules() if isinstance(module, torch.nn.Linear)]
    inputs = {weight.shape[1]: torch.ones(rows, weight.shape[1]) for weight in weights}
    for _ in range(round(sum(map(len, texts)) / rows)):
        for weight in weights:
            torch.nn.functional.linear(inputs[weight.shape[1]], weight)


def sides(folder: Path, texts: list[list[int]]) -> dict[str, Callable[[], None]]:
    model = transformers.BertModel.from_pretrained(folder).eval()
    engine = load(folder)
    with mock.patch.object(onednn, "is_available", return_value=False):
        plain = load(folder)
    runs: dict[str, Callable[[], None]] = {
        ARRIVAL: partial(padded, model, texts, PADDED_BATCH),
        "padded, 32 in order of length": partial(padded, model, sorted(texts, key=len), PADDED_BATCH),
        "one text at a time": partial(padded, model, texts, 1),
        PRODUCTS: partial(products, model, texts, 512),
    }
    for budget in BUDGETS:
        runs[f"packed, {budget} tokens"] = partial(packed, engine, texts, budget)
        runs[f"packed, {budget} tokens, without oneDNN's layout"] = partial(packed, plain, texts, budget)
    return runs


def main() -> Record:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=MODEL, help="a version's folder of a BERT sentence encoder")
    parser.add_argument("--rounds", type=int, default=3, help="how often each side runs; medians are printed")
    arguments, _ = parser.parse_known_args()
    folder = arguments.folder
    torch.set_num_threads(1)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    texts = [encoding.ids for encoding in tokenizer.encode_batch(real_texts(folder / "tokenizer.json"))]
    record = Record("packed_encoder", "How much do packed batches gain, and which token budget is enough?")
    record.notes.append(f"{len(texts)} texts, {sum(map(len, texts))} tokens")
    runs = sides(folder, texts)
    for _ in range(arguments.rounds):
        for name, run in runs.items():
            start = time.thread_time()
            run()
            record.note_round(name, {"texts/s": len(texts) / (time.thread_time() - start)})
    ours = record.median(OURS, "texts/s")
    for name, least in ((ARRIVAL, 4.0), (PRODUCTS, 0.85)):
        record.ratios.append(Ratio(f"{OURS}, to {name}", ours / record.median(name, "texts/s"), least))
    return record.finish()


if __name__ == "__main__":
    main()
