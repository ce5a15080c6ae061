"""The real language model that generation is measured with, and how each side is asked to run it.

SmolLM2-135M-Instruct as `loquor models pull smollm2` makes it: the same folder of float32 weights for all sides. What
to ask, and what to make of the answers, is the programs'.
"""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from benchmarks import told
from benchmarks.prompts import Request
from benchmarks.service import CACHE, ROOT, Service, address_of, loquor
from benchmarks.streams import Stream, StreamLoad, run
from benchmarks.timelines import Timeline
from loquor.v1 import generation_pb2 as generation
from loquor.v1 import language_service_pb2 as api

NAME = "smollm2"
REPOSITORY = ROOT / "models"
FOLDER = REPOSITORY / NAME / "1"

_PEER = "benchmarks/peers/transformers_generation.py"
_DELTA_MESSAGES = slice(1, -1)


def serve(dtype: str, *, running: int = 0) -> Service:
    """`loquor serve` with this model on one worker of one thread; `running` sequences side by side, 0 as it likes."""
    settings = CACHE / f"{NAME}-{dtype}.toml"
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text(f'[models.{NAME}]\ndtype = "{dtype}"\nmax_batch_requests = {running}\n')
    return loquor("--config", str(settings), "--models", NAME, repository=REPOSITORY)


def stream(server: Service, requests: Sequence[Request], warm: Sequence[Request], callers: int) -> list[Timeline]:
    """The requests through gRPC. Raises `RuntimeError` if one was not answered with all its tokens."""
    target = f"{address_of(server)}/loquor.v1.LanguageService/Generate"
    payloads, warm_payloads = ([message_of(request) for request in given] for given in (requests, warm))
    streams = run(StreamLoad(target, payloads, warm_payloads, callers))
    return [_timeline(request, stream) for request, stream in zip(requests, streams, strict=True)]


def message_of(request: Request) -> bytes:
    """Greedy, and blind to end tokens."""
    prompt = generation.PromptTokens(ids=request.ids)
    sampling = generation.SamplingParams(max_tokens=request.max_tokens, temperature=0.0, ignore_eos=True)
    message = api.GenerateRequest(model=NAME, input=generation.GenerationInput(prompt_tokens=prompt), sampling=sampling)
    return message.SerializeToString()


def bare_loop(dtype: str, requests: Sequence[Request], warm: Sequence[Request], callers: int) -> list[dict[str, Any]]:
    """The requests through the engine without a server: the `timeline` and the `ids` of each."""
    command = [sys.executable, "-m", "benchmarks.generation_loop"]
    asked = {"requests": [asdict(one) for one in requests], "warm_requests": [asdict(one) for one in warm]}
    written: list[dict[str, Any]] = told.answer(
        command, asked | {"model": str(FOLDER), "dtype": dtype, "callers": callers}
    )
    return [one | {"timeline": Timeline(**one["timeline"])} for one in written]


def transformers(side: str, dtype: str, **asked: Any) -> dict[str, Any]:
    """What a side of `transformers` answers."""
    given = {"model": str(FOLDER), "dtype": dtype, "side": side}
    answer: dict[str, Any] = told.answer([sys.executable, _PEER], given | asked)
    return answer


def _timeline(request: Request, stream: Stream) -> Timeline:
    last = api.GenerateResponse.FromString(stream.last)
    if last.finished.usage.completion_tokens != request.max_tokens:
        raise RuntimeError(f"{last.finished.usage.completion_tokens} tokens in place of {request.max_tokens}")
    return Timeline(request.max_tokens, stream.started, stream.messages[_DELTA_MESSAGES])
