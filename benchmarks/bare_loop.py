"""The encoder's engine in a plain loop, without a server: `python -m benchmarks.bare_loop`, told on stdin what to run.

Batches are formed as the worker forms them, out of as many waiting texts as there are callers. Texts are tokenized
beforehand; there is no queue, no socket and no other process.
"""

import itertools
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer

from loquor.internal.v1.replica_service_pb2 import Submission, TokenInput
from loquor_worker import sequence
from loquor_worker.engines import Engine
from loquor_worker.engines.load import load_engine
from loquor_worker.scheduler import Budget, Scheduler

_NO_LIMIT = 1 << 30


class BareLoop:
    """An engine, and a scheduler that is kept full."""

    def __init__(self, engine: Engine, submissions: Sequence[Submission], callers: int) -> None:
        self._engine = engine
        self._scheduler = Scheduler(Budget(engine.hello.batch_tokens, _NO_LIMIT))
        self._arriving = self._arrivals(submissions)
        self._arrive(callers)

    def step(self) -> int:
        """Run one batch, let as many texts arrive as it held, and return how many."""
        batch = self._scheduler.schedule(time.monotonic())
        self._engine.step([member.submission for member in batch])
        self._scheduler.finish(batch)
        self._arrive(len(batch))
        return len(batch)

    def _arrive(self, count: int) -> None:
        for arrived in itertools.islice(self._arriving, count):
            self._scheduler.add(arrived)

    def _arrivals(self, submissions: Sequence[Submission]) -> Iterator[sequence.Sequence]:
        for id, submission in enumerate(itertools.cycle(submissions)):
            arrived = Submission(id=id, tokens=submission.tokens)
            yield sequence.Sequence(self, arrived, self._engine.size(arrived), time.monotonic())


def submissions_of(model: Path, texts: list[str]) -> list[Submission]:
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return [Submission(tokens=TokenInput(ids=encoding.ids)) for encoding in tokenizer.encode_batch(texts)]


def measure(loop: BareLoop, round_of_texts: int, seconds: float) -> dict[str, float]:
    """Whole rounds of the texts, to within one batch, for at least so many seconds."""
    texts, steps, size = 0, 0, loop.step()
    started = time.perf_counter()
    while (elapsed := time.perf_counter() - started) < seconds or texts % round_of_texts > size:
        size = loop.step()
        texts += size
        steps += 1
    return {"texts_per_second": texts / elapsed, "texts_per_batch": texts / steps}


def main() -> None:
    given = json.load(sys.stdin)
    torch.set_num_threads(1)
    model = Path(given["model"])
    engine = load_engine(
        model, task=None, device="cpu", dtype="float32", max_batch_tokens=None, max_sequence_tokens=None
    )
    engine.warm()
    submissions = submissions_of(model, given["texts"])
    loop = BareLoop(engine, submissions, given["callers"])
    print(json.dumps(measure(loop, len(submissions), given["seconds"])))


if __name__ == "__main__":
    main()
