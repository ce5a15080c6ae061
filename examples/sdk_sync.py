"""The blocking client: vectors and entities of a few texts, from the server of `make serve`.

python examples/sdk_sync.py [ADDRESS]
"""

import sys

import loquor

TEXTS = [
    "A cat sleeps on the warm window sill.",
    "A kitten naps in the sun by the glass.",
    "The central bank left its interest rate unchanged.",
]


def similarity(first: loquor.Embedding, second: loquor.Embedding) -> float:
    """The cosine: these vectors have length 1."""
    return sum(a * b for a, b in zip(first, second, strict=True))


def main() -> None:
    with loquor.Client(*sys.argv[1:2]) as client:
        client.wait_ready()
        result = client.embed("minilm", TEXTS)
        print(f"{len(result)} vectors of {len(result[0])} numbers, {result.usage.prompt_tokens} tokens,")
        print(f"computed in {result.timings.compute_seconds * 1000:.1f} ms")
        cat, kitten, bank = result
        print(f"cat and kitten: {similarity(cat, kitten):.2f}; cat and bank: {similarity(cat, bank):.2f}")

        (tagged,) = client.tag_tokens("rampart", "My name is Marie Curie, I live in Paris.")
        for span in tagged:
            print(f"{span.label:12} {span.score:.2f} {span.text}")

        try:
            client.embed("no-such-model", "a text")
        except loquor.NotFound as error:
            print("as it should be:", error)


if __name__ == "__main__":
    main()
