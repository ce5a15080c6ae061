"""How much sooner does an answer start when the beginning of its prompt is known? A shared prefix of 1,000 tokens.

One caller, one thread, float32, through gRPC. For each of several real texts a few questions about it, one after the
other: the first reads the text, the later ones find it in the prefix cache.
"""

import argparse
from itertools import islice
from statistics import median

from benchmarks import prompts, smollm2
from benchmarks.prompts import Request
from benchmarks.record import Ratio, Record

PREFIX_TOKENS = 1000
MAX_TOKENS = 8
QUESTIONS = (
    "What is this text about?",
    "Who is named in this text?",
    "Which numbers does this text give?",
    "When did this happen?",
)


def requests_of(texts: int) -> list[Request]:
    """The questions about the first text, then those about the second, and so on."""
    prefixes = islice(prompts.long_texts(smollm2.FOLDER, PREFIX_TOKENS), texts)
    questions = prompts.chats(smollm2.FOLDER, list(QUESTIONS))
    return [Request(prefix + question, MAX_TOKENS) for prefix in prefixes for question in questions]


def measure_round(record: Record, requests: list[Request]) -> None:
    with smollm2.serve("float32") as server:
        timelines = smollm2.stream(server, requests, prompts.warm_requests(smollm2.FOLDER), callers=1)
    seconds = [timeline.first_token_seconds for timeline in timelines]
    later = [one for index, one in enumerate(seconds) if index % len(QUESTIONS)]
    record.note_round("first request", {"first_token_s": median(seconds[:: len(QUESTIONS)])})
    record.note_round("later requests", {"first_token_s": median(later)})


def main() -> Record:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--texts", type=int, default=4)
    flags, _ = parser.parse_known_args()
    record = Record(
        "generation_prefix", f"Seconds to the first token, with a shared prefix of {PREFIX_TOKENS:,} tokens"
    )
    requests = requests_of(flags.texts)
    for turn in range(flags.rounds):
        print(f"round {turn + 1}", flush=True)
        measure_round(record, requests)
    first, later = (record.median(side, "first_token_s") for side in ("first request", "later requests"))
    record.ratios = [Ratio("seconds to the first token, first request to later ones", first / later, at_least=5.0)]
    return record.finish()


if __name__ == "__main__":
    main()
