"""Does the engine write what `transformers` writes, token for token? The real model, greedy, float32, 64 tokens each.

Ours run 16 at a time through the worker's own scheduler, as they would be served; those of `transformers` one by one.
Where they part, the gap between the two tokens in the logits of `transformers` is told: one within the rounding of
float32 is a tie, and counts as a difference nevertheless.
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict

from benchmarks import prompts, smollm2
from benchmarks.prompts import Request
from benchmarks.record import Ratio, Record

TOKENS = 64
CALLERS = 16


def first_difference(ours: Sequence[int], theirs: Sequence[int]) -> int | None:
    pairs = enumerate(zip(ours, theirs, strict=True))
    return next((index for index, (one, other) in pairs if one != other), None)


def gap(request: Request, ours: Sequence[int], theirs: Sequence[int], index: int) -> float:
    """By how much `transformers` likes its own token better."""
    prompt = {"ids": [*request.ids, *theirs[:index]], "tokens": [theirs[index], ours[index]]}
    best, other = smollm2.transformers("next logits", "float32", prompts=[prompt])["logits"][0]
    return float(best) - float(other)


def main() -> Record:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=prompts.COUNT, help="the first so many of them")
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "int8"), default="float32", help="of our side")
    flags, _ = parser.parse_known_args()
    record = Record("greedy_parity", f"The same {TOKENS} tokens as transformers, greedy, {flags.dtype} to float32")
    requests = [Request(one.ids, TOKENS) for one in prompts.requests(smollm2.FOLDER)[: flags.requests]]
    ours = [one["ids"] for one in smollm2.bare_loop(flags.dtype, requests, [], CALLERS)]
    theirs = smollm2.transformers("greedy", "float32", requests=[asdict(one) for one in requests])["ids"]
    equal = 0
    for number, (request, one, other) in enumerate(zip(requests, ours, theirs, strict=True)):
        index = first_difference(one, other)
        if index is None:
            equal += 1
        else:
            found = gap(request, one, other, index)
            record.notes.append(f"prompt {number}: they part at token {index}, where the logits are {found:.2g} apart")
    record.note_round("prompts", {"equal": equal, "all": len(requests)})
    record.ratios = [Ratio("share of prompts with the same tokens", equal / len(requests), at_least=1.0)]
    return record.finish()


if __name__ == "__main__":
    main()
