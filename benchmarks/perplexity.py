"""Does the engine predict real text as well as `transformers` does, and what do smaller weights cost?

News articles end to end, in windows of 512 tokens; each token is predicted from those before it in its window. The
engine's float32 is to give the perplexity of `transformers` to four digits; what bfloat16 and weights of 8 bits lose is
told. Nothing here depends on the time it takes.
"""

import argparse
import math
import sys
from collections.abc import Sequence
from itertools import islice
from statistics import mean

from benchmarks import prompts, smollm2, told
from benchmarks.record import Ratio, Record

WINDOW_TOKENS = 512
DTYPES = ("float32", "bfloat16", "int8")
REFERENCE = "transformers, float32"

_FOUR_DIGITS = 5e-5


def perplexity(losses: Sequence[float]) -> float:
    return math.exp(mean(losses))


def engine_losses(dtype: str, windows: list[list[int]]) -> list[float]:
    asked = {"model": str(smollm2.FOLDER), "dtype": dtype, "windows": windows}
    losses: list[float] = told.answer([sys.executable, "-m", "benchmarks.engine_loss"], asked)
    return losses


def main() -> Record:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--windows", type=int, default=16)
    flags, _ = parser.parse_known_args()
    windows = list(islice(prompts.long_texts(smollm2.FOLDER, WINDOW_TOKENS), flags.windows))
    tokens = sum(len(window) - 1 for window in windows)
    record = Record("perplexity", f"Perplexity on {tokens:,} tokens of news, in windows of {WINDOW_TOKENS}")
    losses = smollm2.transformers("loss", "float32", windows=windows)["losses"]
    record.note_round(REFERENCE, {"perplexity": perplexity(losses)})
    for dtype in DTYPES:
        record.note_round(f"loquor, {dtype}", {"perplexity": perplexity(engine_losses(dtype, windows))})
    compare(record)
    return record.finish()


def compare(record: Record) -> None:
    """How far each is from the reference, as a share of it."""
    reference = record.median(REFERENCE, "perplexity")
    for dtype in DTYPES:
        ours = record.median(f"loquor, {dtype}", "perplexity")
        record.notes.append(f"{dtype}: {ours:.6g} against {reference:.6g}, {ours / reference - 1:+.3%}")
    difference = abs(record.median("loquor, float32", "perplexity") / reference - 1)
    record.ratios = [Ratio("float32, difference from transformers", difference, at_most=_FOUR_DIGITS)]


if __name__ == "__main__":
    main()
