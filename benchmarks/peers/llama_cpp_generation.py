"""The language model in llama.cpp, on one thread: told on stdin what to run, it prints what came of it, in JSON.

Told: `side`; to generate, `model` (a GGUF file) and `requests`, which run one after the other, greedy and blind to end
tokens; to quantize, `source`, `target` and `type`. A timeline's `marks` are when its tokens were there.
"""

import itertools
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import llama_cpp  # type: ignore[import-not-found]

_CONTEXT_TOKENS = 1024
_STEP_TOKENS = 512

Told = dict[str, Any]


def generate(told: Told) -> list[Told]:
    model = llama_cpp.Llama(
        told["model"],
        n_ctx=_CONTEXT_TOKENS,
        n_batch=_STEP_TOKENS,
        n_threads=1,
        n_threads_batch=1,
        verbose=False,
    )
    return [_timeline(model, request) for request in told["requests"]]


def quantize(told: Told) -> None:
    params = llama_cpp.llama_model_quantize_default_params()
    params.nthread = 1
    params.ftype = getattr(llama_cpp, told["type"])
    params.allow_requantize = True
    if status := llama_cpp.llama_model_quantize(told["source"].encode(), told["target"].encode(), params):
        raise RuntimeError(f"llama_model_quantize: status {status}")


def _timeline(model: Any, request: Told) -> Told:
    model.reset()
    started = time.perf_counter()
    tokens = itertools.islice(model.generate(request["ids"], top_k=1, temp=0.0), request["max_tokens"])
    marks = [time.perf_counter() - started for _ in tokens]
    return {"tokens": request["max_tokens"], "started": 0.0, "marks": marks}


_SIDES: dict[str, Callable[[Told], Any]] = {"generate": generate, "quantize": quantize}


def main() -> None:
    told = json.load(sys.stdin)
    print(json.dumps(_SIDES[told["side"]](told)))


if __name__ == "__main__":
    main()
