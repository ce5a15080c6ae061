"""Do two workers serve twice as much as one?

The workers are real but for their engines, which sleep, so that the figure is of the queue, the router and the streams
and not of how many cores there are. 64 callers keep the queue filled.
"""

import argparse

from benchmarks import callers, noop
from benchmarks.record import Ratio, Record
from benchmarks.service import address_of, loquor
from benchmarks.sleeping_worker import STEP_ROWS, STEP_SECONDS

CALLERS = 64
WARM_CALLS = 128


def measure(replicas: int, seconds: float) -> callers.Outcome:
    flags = ["--models", noop.NAME, "--replicas", str(replicas)]
    with loquor(*flags, repository=noop.repository(), module="benchmarks.sleeping_server") as server:
        target = f"grpc://{address_of(server)}/{noop.METHOD}"
        return callers.run(callers.Load(target, [noop.request()], CALLERS, seconds, WARM_CALLS))


def main() -> Record:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each side in each round")
    flags, _ = parser.parse_known_args()
    record = Record("two_workers", "Two workers against one, with engines that sleep")
    for turn in range(flags.rounds):
        print(f"round {turn + 1}", flush=True)
        for side, replicas in (("one worker", 1), ("two workers", 2)):
            outcome = measure(replicas, flags.seconds)
            record.note_round(side, {"calls_per_second": outcome.per_second, "p50_ms": outcome.p50_ms})
    one, two = (record.median(side, "calls_per_second") for side in ("one worker", "two workers"))
    record.ratios = [Ratio("calls a second of two workers, against one", two / one, at_least=1.95)]
    record.notes.append(f"an engine that never waited would do {STEP_ROWS / STEP_SECONDS:g} calls/s")
    return record.finish()


if __name__ == "__main__":
    main()
