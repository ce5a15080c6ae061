"""How fast is one caller's text written, against what reading the weights once a token allows, and against llama.cpp?

Greedy, 128 tokens, one thread, from the first token to the last; float32, and weights of 8 bits, and the model is told
that one sequence runs at a time (`max_batch_requests = 1`). The limit is the
memory's bandwidth, measured in the same round, divided by the bytes of the weights; keys and values come on top and are
not counted. llama.cpp runs the same weights as float32 and as Q8_0.
"""

import argparse
import json
import math
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks import llama_cpp, prompts, smollm2, told
from benchmarks.prompts import Request
from benchmarks.record import Ratio, Record
from benchmarks.timelines import Timeline, decode_rate

TOKENS = 128
DTYPES = {"float32": 4, "int8": 1}
SERVED, LOOP, LLAMA, LIMIT = "through gRPC", "plain loop", "llama.cpp", "limit"


def weights(folder: Path) -> int:
    """How many there are; the embedding counts once, since it is the language head, too."""
    with (folder / "model.safetensors").open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    return sum(math.prod(tensor["shape"]) for tensor in header.values())


def measure_served(dtype: str, requests: Sequence[Request], warm: Sequence[Request]) -> list[Timeline]:
    with smollm2.serve(dtype, running=1) as server:
        return smollm2.stream(server, requests, warm, callers=1)


def measure_loop(dtype: str, requests: Sequence[Request], warm: Sequence[Request]) -> list[Timeline]:
    return [one["timeline"] for one in smollm2.bare_loop(dtype, requests, warm, callers=1)]


def measure_llama(dtype: str, requests: Sequence[Request], warm: Sequence[Request]) -> list[Timeline]:
    return llama_cpp.generate(dtype, [*warm, *requests])[len(warm) :]


def limit(dtype: str) -> dict[str, float]:
    size = weights(smollm2.FOLDER) * DTYPES[dtype]
    bandwidth = told.answer([sys.executable, "-m", "benchmarks.bandwidth"], {"bytes": size})
    return {"tokens_per_second": bandwidth / size, "gigabytes_per_second": bandwidth / 1e9}


MEASURES = {LOOP: measure_loop, SERVED: measure_served, LLAMA: measure_llama}


def measure_round(
    record: Record, requests: Sequence[Request], warm: Sequence[Request], measured: set[tuple[str, str]]
) -> None:
    for dtype in DTYPES:
        record.note_round(f"{LIMIT}, {dtype}", limit(dtype))
        for side, measure in MEASURES.items():
            try:
                rate = median(map(decode_rate, measure(dtype, requests, warm)))
            except subprocess.CalledProcessError as failure:
                print(f"  {side}, {dtype}: {failure}", flush=True)  # a peer that crashes takes nobody along
            else:
                record.note_round(f"{side}, {dtype}", {"tokens_per_second": rate})
                measured.add((side, dtype))


def compare(record: Record, measured: set[tuple[str, str]]) -> None:
    for dtype in DTYPES:
        sides = [side for side in (SERVED, LOOP, LLAMA) if (side, dtype) in measured]
        rates = {side: record.median(f"{side}, {dtype}", "tokens_per_second") for side in (*sides, LIMIT)}
        record.ratios += [
            Ratio(f"{dtype}, {SERVED}, against the limit", rates[SERVED] / rates[LIMIT], at_least=0.8),
            Ratio(f"{dtype}, {LOOP}, against the limit", rates[LOOP] / rates[LIMIT], at_least=0.8),
        ]
        if LLAMA in rates:
            ratio = rates[SERVED] / rates[LLAMA]
            record.ratios.append(Ratio(f"{dtype}, {SERVED}, against llama.cpp", ratio, at_least=1.0))


def main() -> Record:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=3, help="one after the other, of each side in each round")
    flags, _ = parser.parse_known_args()
    record = Record("generation_one_caller", f"Tokens a second for one caller, {TOKENS} tokens, one thread")
    llama_cpp.prepare()
    requests = [Request(one.ids, TOKENS) for one in prompts.requests(smollm2.FOLDER)[: flags.requests]]
    warm = prompts.warm_requests(smollm2.FOLDER)[:1]
    measured: set[tuple[str, str]] = set()
    for turn in range(flags.rounds):
        print(f"round {turn + 1}", flush=True)
        measure_round(record, requests, warm, measured)
    compare(record, measured)
    return record.finish()


if __name__ == "__main__":
    main()
