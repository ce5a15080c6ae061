"""What does the server cost? 16 streams through gRPC, against the engine and its scheduler in a plain loop.

The prompts and lengths are those of `generation_vs_transformers`, greedy, one thread, float32. Both are measured while
all 16 are busy, several rounds over.
"""

import argparse
from collections.abc import Sequence

from benchmarks import prompts, smollm2
from benchmarks.prompts import Request
from benchmarks.record import Ratio, Record
from benchmarks.timelines import steady_rate

STREAMS = 16


def measure_server(dtype: str, requests: Sequence[Request], warm: Sequence[Request]) -> float:
    with smollm2.serve(dtype) as server:
        return steady_rate(smollm2.stream(server, requests, warm, STREAMS), STREAMS)


def measure_loop(dtype: str, requests: Sequence[Request], warm: Sequence[Request]) -> float:
    written = smollm2.bare_loop(dtype, requests, warm, STREAMS)
    return steady_rate([one["timeline"] for one in written], STREAMS)


def main() -> Record:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=prompts.COUNT, help="the first so many of them, more than 16")
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "int8"), default="float32")
    flags, _ = parser.parse_known_args()
    record = Record("generation_server_cost", f"{STREAMS} streams through gRPC and in a plain loop, {flags.dtype}")
    requests = prompts.requests(smollm2.FOLDER)[: flags.requests]
    warm = prompts.warm_requests(smollm2.FOLDER)
    for turn in range(flags.rounds):
        print(f"round {turn + 1}", flush=True)
        for side, measure in (("through gRPC", measure_server), ("plain loop", measure_loop)):
            record.note_round(side, {"tokens_per_second": measure(flags.dtype, requests, warm)})
    server, loop = (record.median(side, "tokens_per_second") for side in ("through gRPC", "plain loop"))
    record.ratios = [Ratio("tokens a second through gRPC, against the plain loop", server / loop, at_least=0.9)]
    return record.finish()


if __name__ == "__main__":
    main()
