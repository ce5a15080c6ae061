"""The generator's engine in a plain loop, without a server: `python -m benchmarks.generation_loop`, told on stdin.

The worker's own scheduler forms its steps, out of as many requests as there are callers. There is no queue, no socket
and no other process. Told: `model` (a folder), `dtype`, `callers`, `requests` and `warm_requests` of ids and
`max_tokens`. It prints the timeline and the token ids of each request, in JSON.
"""

import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchmarks.prompts import Request
from benchmarks.timelines import Timeline
from loquor.internal.v1.replica_service_pb2 import GenerationInput, Sampling, Submission
from loquor.v1 import generation_pb2 as api
from loquor_worker.engines.load_generator import load_generator
from loquor_worker.generation.limits import GeneratorSettings
from loquor_worker.generation_work import GenerationWork


@dataclass
class Written:
    """What came of one request."""

    timeline: Timeline
    ids: list[int] = field(default_factory=list)


class GenerationLoop:
    """Runs requests, so many at a time; each that ends makes place for the next."""

    def __init__(self, work: GenerationWork, requests: Sequence[Request]) -> None:
        self._work = work
        self._waiting: Iterator[tuple[int, Request]] = iter(enumerate(requests))
        self._written: dict[int, Written] = {}
        self._started = time.perf_counter()

    def run(self, callers: int) -> list[Written]:
        for _ in range(callers):
            self._arrive()
        while len(self._work):
            self._step()
        return [self._written[index] for index in sorted(self._written)]

    def _step(self) -> None:
        started = time.monotonic()
        chunks = self._work.schedule(started)
        for told in self._work.commit(chunks, self._work.run(chunks), started):
            self._note(told.result.id, told.result.tokens)
            if told.result.tokens.finish != api.FINISH_REASON_UNSPECIFIED:
                self._arrive()

    def _note(self, index: int, tokens: Any) -> None:
        self._written[index].timeline.marks.append(time.perf_counter() - self._started)
        self._written[index].ids.extend(tokens.ids)

    def _arrive(self) -> None:
        for index, request in self._waiting:
            timeline = Timeline(request.max_tokens, time.perf_counter() - self._started, [])
            self._written[index] = Written(timeline)
            self._work.admit(self, submission_of(index, request), time.monotonic())
            return


def submission_of(index: int, request: Request) -> Submission:
    """Greedy, and blind to end tokens."""
    sampling = Sampling(max_tokens=request.max_tokens, top_p=1.0, repetition_penalty=1.0, ignore_eos=True)
    return Submission(id=index, generation=GenerationInput(prompt_ids=request.ids, sampling=sampling))


def main() -> None:
    told = json.load(sys.stdin)
    torch.set_num_threads(1)
    settings = GeneratorSettings(max_running_sequences=1 if told["callers"] == 1 else 0)
    work = load_generator(Path(told["model"]), device="cpu", dtype=told["dtype"], settings=settings)
    work.warm()
    for name in ("warm_requests", "requests"):
        loop = GenerationLoop(work, [Request(**request) for request in told[name]])
        written = loop.run(told["callers"])
    print(json.dumps([asdict(one) for one in written]))


if __name__ == "__main__":
    main()
