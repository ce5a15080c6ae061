"""Embed many sentences on one stream with an unmodified tritonclient: `pip install "tritonclient[grpc]"`.

Answers come as they are ready and are matched by the request's id. It expects a server that serves `minilm`:
loquor models pull minilm && loquor serve --models minilm
"""

import queue
import sys

import numpy as np
from tritonclient.grpc import InferenceServerClient, InferInput

REQUESTS = 20


def text_of(*sentences: str) -> InferInput:
    text = InferInput("text", [len(sentences)], "BYTES")
    text.set_data_from_numpy(np.array([sentence.encode() for sentence in sentences], dtype=np.object_))
    return text


def main(address: str) -> None:
    answers: queue.Queue = queue.Queue()
    with InferenceServerClient(address) as client:
        client.start_stream(callback=lambda result, error: answers.put((result, error)))
        for number in range(REQUESTS):
            client.async_stream_infer("minilm", [text_of(f"Sentence number {number}.")], request_id=str(number))
        for _ in range(REQUESTS):
            result, error = answers.get(timeout=60)
            if error is not None:
                print(f"failed: {error}")
                continue
            print(f"{result.get_response().id}: {result.as_numpy('embedding')[0, :3]}")
        client.stop_stream()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:8001")
