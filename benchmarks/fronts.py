"""Do two front processes serve more calls than one?

The model does nothing, so the fronts are what there is to wait for. The callers are two processes' worth of calls in
flight over many connections, which the kernel spreads over the fronts. Two fronts, a worker and the callers want four
cores at least; with fewer there is nothing to win, and the program says so.
"""

import argparse
import os

from benchmarks import callers, noop
from benchmarks.record import Ratio, Record
from benchmarks.service import address_of, loquor

CALLERS = 64
CONNECTIONS = 16
WARM_CALLS = 500
CORES_WANTED = 4


def measure(fronts: int, seconds: float) -> callers.Outcome:
    with loquor("--models", noop.NAME, "--fronts", str(fronts), repository=noop.repository()) as server:
        target = f"grpc://{address_of(server)}/{noop.METHOD}"
        load = callers.Load(target, [noop.request()], CALLERS, seconds, WARM_CALLS, CONNECTIONS)
        return callers.run(load)


def main() -> Record:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each side in each round")
    flags, _ = parser.parse_known_args()
    record = Record("fronts", "Two fronts against one, with a model that does nothing")
    for turn in range(flags.rounds):
        print(f"round {turn + 1}", flush=True)
        for side, fronts in (("one front", 1), ("two fronts", 2)):
            outcome = measure(fronts, flags.seconds)
            figures = {"calls_per_second": outcome.per_second, "p50_ms": outcome.p50_ms, "p99_ms": outcome.p99_ms}
            record.note_round(side, figures)
    one, two = (record.median(side, "calls_per_second") for side in ("one front", "two fronts"))
    cores = len(os.sched_getaffinity(0))
    spare = cores >= CORES_WANTED
    record.ratios = [Ratio("calls a second of two fronts, against one", two / one, at_least=1.7 if spare else None)]
    if not spare:
        record.notes.append(f"this machine has {cores} cores and none to spare for a second front: 1.7 is not expected")
    return record.finish()


if __name__ == "__main__":
    main()
