"""How many sentence embeddings a second, against LitServe, Mosec, and the same engine without any server?

64 callers with one text each, one thread for the model, real texts from 3 to 256 tokens. Every side is started, warmed,
measured and stopped in turn, several rounds over. The peers batch dynamically up to 32 texts and run the same model in
`transformers`; their answers are checked against ours.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import callers
from benchmarks.environment import python_with
from benchmarks.record import Ratio, Record
from benchmarks.service import ROOT, Service, address_of, loquor
from benchmarks.texts import real_texts, token_counts
from loquor.v1 import language_service_pb2 as api

CALLERS = 64
WARM_CALLS = 64
REPOSITORY = ROOT / "models"
MODEL = REPOSITORY / "minilm" / "1"
PEERS = ("litserve", "mosec")
FRAMEWORKS = ("torch==2.13.0", "transformers==5.23.0")

_LEAST_COSINE = 0.9999
_START_SECONDS = 120.0


def measure_loquor(texts: list[str], seconds: float) -> callers.Outcome:
    payloads = [api.EmbedRequest(model="minilm", texts=[text]).SerializeToString() for text in texts]
    with loquor("--models", "minilm", repository=REPOSITORY) as server:
        target = f"grpc://{address_of(server)}/loquor.v1.LanguageService/Embed"
        return callers.run(callers.Load(target, payloads, CALLERS, seconds, WARM_CALLS))


def measure_litserve(texts: list[str], seconds: float) -> callers.Outcome:
    port = _free_port()
    command = [str(_python("litserve")), "benchmarks/peers/litserve_server.py", str(port), str(MODEL)]
    return _measure_http("litserve", command, f"http://127.0.0.1:{port}/predict", texts, seconds)


def measure_mosec(texts: list[str], seconds: float) -> callers.Outcome:
    port = _free_port()
    command = [str(_python("mosec")), "benchmarks/peers/mosec_server.py", "--port", str(port), "--timeout", "120000"]
    return _measure_http("mosec", command, f"http://127.0.0.1:{port}/inference", texts, seconds)


def measure_bare_loop(texts: list[str], seconds: float) -> dict[str, float]:
    given = json.dumps({"model": str(MODEL), "texts": texts, "callers": CALLERS, "seconds": seconds})
    command = [sys.executable, "-m", "benchmarks.bare_loop"]
    done = subprocess.run(
        command, cwd=ROOT, input=given, text=True, stdout=subprocess.PIPE, check=True, env=_one_thread()
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _measure_http(name: str, command: list[str], target: str, texts: list[str], seconds: float) -> callers.Outcome:
    payloads = [json.dumps({"text": text}).encode() for text in texts]
    with Service(name, command, _one_thread() | {"BENCHMARK_MODEL": str(MODEL)}) as server:
        _wait_for_answer(server, target, payloads[0])
        return callers.run(callers.Load(target, payloads, CALLERS, seconds, WARM_CALLS))


def _wait_for_answer(server: Service, target: str, payload: bytes) -> None:
    request = urllib.request.Request(target, payload, {"Content-Type": "application/json"})
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until:
        server.check_running()
        try:
            urllib.request.urlopen(request, timeout=10).close()
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.2)
        else:
            return
    raise RuntimeError(f"no answer from {target}")


def _python(peer: str) -> Path:
    return python_with(peer, (*FRAMEWORKS, peer))


def _one_thread() -> dict[str, str]:
    return {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PATH": os.environ["PATH"]}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def embedding_of(answer: bytes) -> list[float]:
    """Of either kind of answer: our message, or the peers' JSON."""
    if answer.startswith(b"{"):
        values: list[float] = json.loads(answer)["embedding"]
        return values
    return list(api.EmbedResponse.FromString(answer).embeddings[0].values)


def check_same(ours: Sequence[bytes], theirs: Sequence[bytes]) -> None:
    """Raises `RuntimeError` if some text has another embedding. The vectors are normalised."""
    for index, (one, other) in enumerate(zip(ours, theirs, strict=True)):
        cosine = sum(a * b for a, b in zip(embedding_of(one), embedding_of(other), strict=True))
        if cosine < _LEAST_COSINE:
            raise RuntimeError(f"text {index}: the embeddings differ, their cosine is {cosine}")


def main() -> Record:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each side in each round")
    flags, _ = parser.parse_known_args()
    record = Record("embeddings_vs_peers", "Sentence embeddings, 64 callers with one text each, one thread")
    texts = real_texts(MODEL / "tokenizer.json")
    counts = token_counts(MODEL / "tokenizer.json", texts)
    record.notes.append(
        f"{len(texts)} texts of {min(counts)} to {max(counts)} tokens, "
        f"median {statistics.median(counts):g}, mean {statistics.mean(counts):.1f}"
    )
    for peer in PEERS:
        _python(peer)
    for turn in range(flags.rounds):
        print(f"round {turn + 1}", flush=True)
        measure_round(record, texts, flags.seconds)
    compare(record)
    return record.finish()


def measure_round(record: Record, texts: list[str], seconds: float) -> None:
    measures: dict[str, Callable[[list[str], float], callers.Outcome]] = {
        "loquor": measure_loquor,
        "litserve": measure_litserve,
        "mosec": measure_mosec,
    }
    answers: list[bytes] = []
    for side, measure in measures.items():
        outcome = measure(texts, seconds)
        answers = answers or outcome.answers
        check_same(answers, outcome.answers)
        figures = {"texts_per_second": outcome.per_second, "p50_ms": outcome.p50_ms, "p99_ms": outcome.p99_ms}
        record.note_round(side, figures)
    record.note_round("bare loop", measure_bare_loop(texts, seconds))


def compare(record: Record) -> None:
    ours, bare = (record.median(side, "texts_per_second") for side in ("loquor", "bare loop"))
    best = max(record.median(peer, "texts_per_second") for peer in PEERS)
    best_p99 = min(record.median(peer, "p99_ms") for peer in PEERS)
    record.ratios = [
        Ratio("texts a second, against the best peer", ours / best, at_least=4.0),
        Ratio("texts a second, against the bare loop", ours / bare, at_least=0.85),
        Ratio("p99, against the best peer's", record.median("loquor", "p99_ms") / best_p99, at_most=1.0),
    ]


if __name__ == "__main__":
    main()
