"""What does the front cost, against a gRPC server in Python that does nothing at all?

Loquor serves a tensor model that gives back what it takes, so a call passes everything: admission, queue, router, the
stream to a worker and its engine. The echo is a bare `grpc.aio` server on the same event loop (uvloop), with answers of
the same size. Both have the same callers, one call in flight and then 32.
"""

import argparse
import sys

from benchmarks import callers, noop
from benchmarks.record import Ratio, Record
from benchmarks.service import Service, address_of, loquor

IN_FLIGHT = (1, 32)
WARM_CALLS = 500
TARGETS = {"loquor.v1": (noop.METHOD, noop.request()), "open inference": (noop.OPEN_METHOD, noop.open_request())}


def measure(record: Record, server: Service, side: str, target: str, payload: bytes, seconds: float) -> bytes:
    """Both numbers in flight, one after the other. The last answer."""
    answer = b""
    for in_flight in IN_FLIGHT:
        before = server.cpu_seconds()
        outcome = callers.run(callers.Load(target, [payload], in_flight, seconds, WARM_CALLS))
        after = server.cpu_seconds()
        answer = outcome.answers[0]
        calls = outcome.calls + WARM_CALLS
        figures = {"calls_per_second": outcome.per_second, "p50_ms": outcome.p50_ms, "p99_ms": outcome.p99_ms}
        figures["callers_cpu_us"] = 1e6 * outcome.cpu_seconds / outcome.calls
        figures |= {f"{part}_cpu_us": 1e6 * (after[part] - before[part]) / calls for part in after}
        record.note_round(_side(side, in_flight), figures)
    return answer


def measure_round(record: Record, seconds: float) -> None:
    answer = b""
    with loquor("--models", noop.NAME, repository=noop.repository()) as server:
        address = address_of(server)
        for side, (method, payload) in TARGETS.items():
            answer = measure(record, server, side, f"grpc://{address}/{method}", payload, seconds)
    command = [sys.executable, "-m", "benchmarks.echo_server", str(len(answer))]
    with Service("echo", command) as server:
        address = server.wait_for(r"echo on (\S+)")[1]
        measure(record, server, "echo", f"grpc://{address}/benchmarks.Echo/Echo", noop.open_request(), seconds)


def compare(record: Record) -> None:
    for side in TARGETS:
        waits = (record.median(_side(one, 1), "p50_ms") for one in (side, "echo"))
        rates = (record.median(_side(one, 32), "calls_per_second") for one in (side, "echo"))
        ours, echo = waits
        record.ratios.append(Ratio(f"{side}: ms more p50 than the echo, 1 in flight", ours - echo, at_most=1.0))
        ours, echo = rates
        record.ratios.append(
            Ratio(f"{side}: calls a second, against the echo, 32 in flight", ours / echo, at_least=0.5)
        )


def _side(name: str, in_flight: int) -> str:
    return f"{name}, {in_flight} in flight"


def main() -> Record:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each side in each round")
    flags, _ = parser.parse_known_args()
    record = Record("front_vs_echo", "The front with a model that does nothing, against a bare echo")
    for turn in range(flags.rounds):
        print(f"round {turn + 1}", flush=True)
        measure_round(record, flags.seconds)
    compare(record)
    sizes = " and ".join(str(len(payload)) for _, payload in TARGETS.values())
    record.notes.append(f"requests have {sizes} bytes; cpu is in microseconds a call")
    return record.finish()


if __name__ == "__main__":
    main()
