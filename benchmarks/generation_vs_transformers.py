"""How many tokens a second for 16 callers, against `transformers` in static batches and with continuous batching?

64 real prompts of mixed lengths, 16 to 256 tokens to write for each, greedy, one thread, the same weights and type.
Static batches are padded, in order of arrival, and run to their longest answer; only tokens that were asked for count.
The two that batch continuously are measured while all 16 callers are busy. Every side is started, warmed, measured and
stopped in turn, several rounds over.
"""

import argparse
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict

from benchmarks import prompts, smollm2
from benchmarks.prompts import Request
from benchmarks.record import Ratio, Record
from benchmarks.timelines import Timeline, median_first_token, steady_rate

CALLERS = 16

Measure = Callable[[str, Sequence[Request], Sequence[Request]], dict[str, float]]


def measure_loquor(dtype: str, requests: Sequence[Request], warm: Sequence[Request]) -> dict[str, float]:
    with smollm2.serve(dtype) as server:
        return _figures(smollm2.stream(server, requests, warm, CALLERS))


def measure_continuous(dtype: str, requests: Sequence[Request], warm: Sequence[Request]) -> dict[str, float]:
    asked = {"requests": [asdict(one) for one in requests], "warm_requests": [asdict(one) for one in warm]}
    answer = smollm2.transformers("continuous", dtype, callers=CALLERS, **asked)
    return _figures([Timeline(**timeline) for timeline in answer["timelines"]])


def measure_static(dtype: str, requests: Sequence[Request], warm: Sequence[Request]) -> dict[str, float]:
    asked = [asdict(one) for one in requests]
    answer = smollm2.transformers("static", dtype, callers=CALLERS, requests=asked)
    return {"tokens_per_second": sum(one.max_tokens for one in requests) / answer["seconds"]}


SIDES: dict[str, Measure] = {
    "loquor": measure_loquor,
    "transformers, continuous": measure_continuous,
    "transformers, static": measure_static,
}


def main() -> Record:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=prompts.COUNT, help="the first so many of them, more than 16")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    flags, _ = parser.parse_known_args()
    question = f"Tokens a second for {CALLERS} callers, one thread, {flags.dtype}"
    record = Record(f"generation_vs_transformers_{flags.dtype}", question)
    requests = prompts.requests(smollm2.FOLDER)[: flags.requests]
    warm = prompts.warm_requests(smollm2.FOLDER)
    record.notes.append(describe(requests))
    for turn in range(flags.rounds):
        print(f"round {turn + 1}", flush=True)
        for side, measure in SIDES.items():
            record.note_round(side, measure(flags.dtype, requests, warm))
    compare(record)
    return record.finish()


def describe(requests: Sequence[Request]) -> str:
    lengths = [len(request.ids) for request in requests]
    writes = [request.max_tokens for request in requests]
    batches = [writes[start : start + CALLERS] for start in range(0, len(writes), CALLERS)]
    run = sum(max(batch) * len(batch) for batch in batches)
    return (
        f"{len(requests)} prompts of {min(lengths)} to {max(lengths)} tokens, mean {statistics.mean(lengths):.0f}; "
        f"{min(writes)} to {max(writes)} to write, mean {statistics.mean(writes):.0f}; "
        f"{sum(writes) / run:.0%} of what static batches write was asked for"
    )


def compare(record: Record) -> None:
    loquor, continuous, static = (record.median(side, "tokens_per_second") for side in SIDES)
    record.ratios = [
        Ratio("tokens a second, against static batches", loquor / static, at_least=3.0),
        Ratio("tokens a second, against continuous batching", loquor / continuous, at_least=1.2),
    ]


def _figures(timelines: Sequence[Timeline]) -> dict[str, float]:
    first = median_first_token(timelines)
    return {"tokens_per_second": steady_rate(timelines, CALLERS), "first_token_p50_s": first}


if __name__ == "__main__":
    main()
