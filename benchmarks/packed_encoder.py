"""How much do packed batches gain over padded ones, and which token budget is enough? One thread, one run.

Texts are the paragraphs of the descriptions of the installed packages, in a fixed random order, cut at 256 tokens.
Seconds are the thread's own CPU time and the least of several rounds, so that a busy machine disturbs them little.

    OMP_NUM_THREADS=1 python benchmarks/packed_encoder.py models/minilm/1
"""

import argparse
import random
import re
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import torch
import transformers
from loquor.internal.v1.replica_service_pb2 import Submission, TokenInput
from loquor_worker.engines import Engine
from loquor_worker.engines.load import load_engine
from loquor_worker.models import onednn
from tokenizers import Tokenizer

BUDGETS = (128, 256, 512, 1024, 2048, 4096)
PADDED_BATCH = 32
ROUNDS = 3


def read_texts(tokenizer: Tokenizer, count: int) -> list[list[int]]:
    paragraphs = {
        " ".join(paragraph.split())
        for distribution in distributions()
        for paragraph in re.split(r"\n\s*\n", distribution.metadata.get_payload() or "")
        if re.fullmatch(r"[\w\s.,;:'()-]{4,}", paragraph)
    }
    texts = random.Random(7).sample(sorted(paragraphs), min(count, len(paragraphs)))
    return [encoding.ids for encoding in tokenizer.encode_batch(texts)]


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
    """The matrix products alone."""
    weights = [module.weight for module in model.encoder.modules() if isinstance(module, torch.nn.Linear)]
    inputs = {weight.shape[1]: torch.ones(rows, weight.shape[1]) for weight in weights}
    for _ in range(round(sum(map(len, texts)) / rows)):
        for weight in weights:
            torch.nn.functional.linear(inputs[weight.shape[1]], weight)


def measure(runs: dict[str, Callable[[], None]]) -> dict[str, float]:
    """The least seconds of each; rounds go through all of them in turn."""
    seconds = dict.fromkeys(runs, float("inf"))
    for _ in range(ROUNDS):
        for name, run in runs.items():
            start = time.thread_time()
            run()
            seconds[name] = min(seconds[name], time.thread_time() - start)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a version's folder of a BERT sentence encoder")
    parser.add_argument("--texts", type=int, default=256, help="how many texts")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    tokenizer = Tokenizer.from_file(str(arguments.folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(256)
    texts = read_texts(tokenizer, arguments.texts)
    model = transformers.BertModel.from_pretrained(arguments.folder).eval()
    engine = load(arguments.folder)
    available, onednn.is_available = onednn.is_available, lambda _: False
    plain_engine = load(arguments.folder)
    onednn.is_available = available
    runs: dict[str, Callable[[], None]] = {
        "padded, batches of 32 in order of arrival": partial(padded, model, texts, PADDED_BATCH),
        "padded, batches of 32 in order of length": partial(padded, model, sorted(texts, key=len), PADDED_BATCH),
        "one text at a time": partial(padded, model, texts, 1),
        "matrix products alone (MKL, 512 rows)": partial(products, model, texts, 512),
    }
    for budget in BUDGETS:
        runs[f"packed, {budget} tokens"] = partial(packed, engine, texts, budget)
        runs[f"packed, {budget} tokens, not laid out for oneDNN"] = partial(packed, plain_engine, texts, budget)
    seconds = measure(runs)
    lengths = sorted(map(len, texts))
    print(f"{len(texts)} texts of {lengths[0]} to {lengths[-1]} tokens, mean {sum(lengths) / len(lengths):.1f}")
    base = next(iter(seconds.values()))
    for name, taken in seconds.items():
        print(f"{name:55} {len(texts) / taken:7.1f} texts/s {base / taken:6.2f}x")


if __name__ == "__main__":
    main()
