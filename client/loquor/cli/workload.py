"""What a benchmark sends: texts of a file or made-up ones, or zeros for a tensor model, as the model's task asks."""

import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Any

import loquor
from loquor.cli.failure import Failure
from loquor.cli.load import Call, Work, Writing
from loquor.cli.status import USAGE
from loquor.cli.values import ModelName

_WORDS = (
    "the of and a to in is was that for on with as by at from his an were are which this also be or has had first one "
    "their its new after but who not they have her she two been other when there all during into school time may years "
    "more most only over city some world would where later up such used many can state about national out known "
    "university united then made system water between river government music company small long every morning"
)
_MADE_UP_TEXTS = 512


def made_up_texts(seed: int = 1) -> list[str]:
    """From 3 to about 200 words, most of them short, as real texts are."""
    chance, words = random.Random(seed), _WORDS.split()
    lengths = (min(200, 3 + int(chance.lognormvariate(2.8, 0.9))) for _ in range(_MADE_UP_TEXTS))
    return [" ".join(chance.choices(words, k=length)) for length in lengths]


@dataclass(frozen=True, slots=True)
class Workload:
    """What each request is made of; `max_tokens` is for models that write."""

    texts: list[str]
    size: int
    max_tokens: int


def make_call(client: loquor.AsyncClient, model: loquor.Model, asked: ModelName, load: Workload) -> Call:
    """The n-th request takes the next `size` texts, round and round. Texts that are too long are cut."""
    texts, size = load.texts, load.size
    if model.task is loquor.Task.INFER:
        return _infer(client, model, asked, size)
    if model.task is loquor.Task.GENERATE:
        return _generate(client, asked, load)
    if model.task is loquor.Task.UNSPECIFIED:
        raise Failure(f"{asked.name} is {model.state}, so its task is not known; load it first")
    methods: dict[loquor.Task, Callable[..., Awaitable[Any]]] = {
        loquor.Task.EMBED: client.embed,
        loquor.Task.CLASSIFY: client.classify,
        loquor.Task.TAG_TOKENS: client.tag_tokens,
    }
    method = methods[model.task]

    async def call(number: int) -> Work:
        batch = _take(texts, number * size, size)
        result = await method(asked.name, batch, version=asked.version, truncate=True)
        timings = result.timings
        return Work(
            len(batch), result.usage.prompt_tokens, timings.queue_seconds, timings.compute_seconds, timings.batch_size
        )

    return call


def _generate(client: loquor.AsyncClient, asked: ModelName, load: Workload) -> Call:
    """Each text of one length, whatever the model would say, so that runs compare."""
    if load.size > 1:
        raise Failure("--batch-size: a model that writes is sent one prompt a request; raise --concurrency", USAGE)

    async def call(number: int) -> Work:
        (prompt,) = _take(load.texts, number, 1)
        stream = client.stream(asked.name, prompt, version=asked.version, max_tokens=load.max_tokens, ignore_eos=True)
        times = [time.perf_counter()]
        times += [time.perf_counter() async for _ in stream]
        usage = stream.usage
        writing = _writing(times, usage.completion_tokens)
        return Work(1, usage.prompt_tokens, stream.timings.queue_seconds, writing=writing)

    return call


def _writing(times: list[float], tokens: int) -> Writing | None:
    """From the sending and the times of all deltas; None where there was none."""
    if len(times) < 2:
        return None
    return Writing(tokens, times[1] - times[0], tuple(later - earlier for earlier, later in pairwise(times[1:])))


def _infer(client: loquor.AsyncClient, model: loquor.Model, asked: ModelName, size: int) -> Call:
    inputs = {one.name: _zeros(one, size) for one in model.inputs}

    async def call(number: int) -> Work:
        timings = (await client.infer(asked.name, inputs, version=asked.version)).timings
        return Work(size, 0, timings.queue_seconds, timings.compute_seconds, timings.batch_size)

    return call


def _zeros(signature: loquor.TensorSignature, rows: int) -> loquor.Tensor:
    shape = (rows, *(max(1, size) for size in signature.shape[1:]))
    return loquor.Tensor(signature.data_type, shape, bytes(prod(shape) * signature.data_type.bytes_per_element))


def _take(texts: Sequence[str], start: int, count: int) -> list[str]:
    return [texts[(start + place) % len(texts)] for place in range(count)]
