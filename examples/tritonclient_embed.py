"""Embed sentences with an unmodified tritonclient: `pip install "tritonclient[grpc]"`, then run this.

It expects a server that serves `minilm`: loquor models pull minilm && loquor serve --models minilm
"""

import sys

import numpy as np
from tritonclient.grpc import InferenceServerClient, InferInput

SENTENCES = ["A man is eating food.", "A man is eating a piece of bread.", "The girl is carrying a baby."]


def main(address: str) -> None:
    text = InferInput("text", [len(SENTENCES)], "BYTES")
    text.set_data_from_numpy(np.array([sentence.encode() for sentence in SENTENCES], dtype=np.object_))
    with InferenceServerClient(address) as client:
        result = client.infer("minilm", [text])
    embedding = result.as_numpy("embedding")
    for sentence, similarity in zip(SENTENCES, embedding @ embedding[0], strict=True):
        print(f"{similarity:.3f}  {sentence}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:8001")
