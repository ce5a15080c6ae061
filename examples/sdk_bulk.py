"""Bulk: any number of texts through one stream, in order, in little memory, from the server of `make serve`.

python examples/sdk_bulk.py [ADDRESS]
"""

import sys
from collections.abc import Iterator

import loquor

TEXTS = 300


def texts() -> Iterator[str]:
    """A generator: nothing but the window of batches under way is ever in memory."""
    for number in range(TEXTS):
        yield f"line {number} of a file that may be longer than memory"


def show(done: int) -> None:
    print(f"\r{done} of {TEXTS}", end="", flush=True)


def main() -> None:
    with loquor.Client(*sys.argv[1:2]) as client:
        client.wait_ready("minilm")
        vectors = client.embed_many("minilm", texts(), batch_size=16, progress=show)
        tokens = sum(vector.tokens for vector in vectors)
        print(f"\n{tokens} tokens")


if __name__ == "__main__":
    main()
