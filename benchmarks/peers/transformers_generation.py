"""The language model in `transformers`, on one thread: told on stdin what to run, it prints what came of it, in JSON.

Told: `model` (a folder), `dtype`, `side`, and what the side wants. Greedy, and blind to end tokens. Seconds are on this
process's own clock, from the start of the first request; a request's `marks` are when its tokens were there.
"""

import json
import logging
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from transformers import AutoModelForCausalLM, ContinuousBatchingConfig, GenerationConfig

_PAD = 0
_WARM_TOKENS = 4
_PAGE_TOKENS = 256
_CACHE_PAGES = 64
_STEP_TOKENS = 512

Told = dict[str, Any]


def load(told: Told) -> Any:
    torch.set_num_threads(1)
    attention = told.get("attention", "sdpa")
    dtype = getattr(torch, told["dtype"])
    model = AutoModelForCausalLM.from_pretrained(told["model"], dtype=dtype, attn_implementation=attention).eval()
    model.generation_config = GenerationConfig(do_sample=False, pad_token_id=_PAD)  # else it fills in end tokens
    return model


def static(model: Any, told: Told) -> Told:
    """Batches in order of arrival, padded on the left; each runs to the end of its longest answer."""
    requests, size = told["requests"], told["callers"]
    _generate(model, [request["ids"] for request in requests[:size]], _WARM_TOKENS)
    started = time.perf_counter()
    for batch in _batches(requests, size):
        _generate(model, [request["ids"] for request in batch], max(request["max_tokens"] for request in batch))
    return {"seconds": time.perf_counter() - started}


def continuous(model: Any, told: Told) -> Told:
    """Its continuous batching; a request comes whenever one has been answered, so many are always there."""
    manager = model.init_continuous_batching(
        generation_config=GenerationConfig(do_sample=False, eos_token_id=-1, pad_token_id=_PAD),
        continuous_batching_config=_continuous_config(told),
    )
    manager.warmup()
    manager.start()
    warm = [request | {"max_tokens": _WARM_TOKENS} for request in told["warm_requests"]]
    _serve(manager, warm, told["callers"])
    timelines = _serve(manager, told["requests"], told["callers"])
    manager.stop(block=True)
    return {"timelines": timelines}


def greedy(model: Any, told: Told) -> Told:
    """One prompt at a time."""
    return {"ids": [_generate(model, [request["ids"]], request["max_tokens"])[0] for request in told["requests"]]}


@torch.inference_mode()
def next_logits(model: Any, told: Told) -> Told:
    """The logits of some tokens after each prompt."""
    rows = [model(torch.tensor([one["ids"]])).logits[0, -1].float()[one["tokens"]] for one in told["prompts"]]
    return {"logits": [row.tolist() for row in rows]}


@torch.inference_mode()
def loss(model: Any, told: Told) -> Told:
    """Mean negative log-likelihood of each window's tokens but the first, each from those before it."""
    losses = []
    for window in told["windows"]:
        ids = torch.tensor([window])
        logits = model(ids).logits[0, :-1].double()
        losses.append(torch.nn.functional.cross_entropy(logits, ids[0, 1:]).item())
    return {"losses": losses}


def _generate(model: Any, prompts: list[list[int]], max_tokens: int) -> list[list[int]]:
    longest = max(map(len, prompts))
    ids = torch.tensor([[_PAD] * (longest - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    written = model.generate(ids, attention_mask=mask, max_new_tokens=max_tokens)
    if written.shape[1] != longest + max_tokens:
        raise RuntimeError(f"it stopped after {written.shape[1] - longest} tokens of {max_tokens}")
    rows: list[list[int]] = written[:, longest:].tolist()
    return rows


def _batches(requests: list[Told], size: int) -> Iterator[list[Told]]:
    for start in range(0, len(requests), size):
        yield requests[start : start + size]


def _continuous_config(told: Told) -> ContinuousBatchingConfig:
    """Of those tried on the CPU, the fastest (see docs/benchmarks.md). Room for all callers at their longest."""
    return ContinuousBatchingConfig(
        page_size=told.get("page_tokens", _PAGE_TOKENS),
        num_blocks=told.get("cache_pages", _CACHE_PAGES),
        max_batch_tokens=told.get("step_tokens", _STEP_TOKENS),
        max_requests_per_batch=told["callers"],
        default_compile_level=told.get("compile_level", 0),
    )


def _serve(manager: Any, requests: list[Told], callers: int) -> list[Told]:
    started = time.perf_counter()
    timelines: dict[str, Told] = {}
    waiting = iter(requests)

    def submit() -> None:
        for request in waiting:
            at = time.perf_counter() - started
            id = manager.add_request(request["ids"], max_new_tokens=request["max_tokens"], streaming=True)
            timelines[id] = {"tokens": request["max_tokens"], "started": at, "marks": []}
            return

    for _ in range(callers):
        submit()
    left = len(requests)
    while left:
        output = manager.get_result(timeout=1)
        if output is None:
            continue
        if output.error is not None:
            raise RuntimeError(output.error)
        timelines[output.request_id]["marks"].append(time.perf_counter() - started)
        if output.is_finished():
            left -= 1
            submit()
    return list(timelines.values())


_SIDES: dict[str, Callable[[Any, Told], Told]] = {
    "static": static,
    "continuous": continuous,
    "greedy": greedy,
    "next logits": next_logits,
    "loss": loss,
}


def main() -> None:
    logging.disable(logging.WARNING)
    told = json.load(sys.stdin)
    model = load(told)
    cpu_started = time.process_time()
    answer = _SIDES[told["side"]](model, told)
    print(json.dumps(answer | {"cpu_seconds": time.process_time() - cpu_started}))


if __name__ == "__main__":
    main()
