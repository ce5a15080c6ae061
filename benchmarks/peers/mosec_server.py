"""The encoder behind Mosec with dynamic batching. It reads BENCHMARK_MODEL and Mosec's own flags and variables."""

import os
from typing import Any

from mosec import Server, Worker  # type: ignore[import-not-found]
from padded import PaddedEncoder  # type: ignore[import-not-found]

_MOST_TEXTS = 32
_WAIT_MILLISECONDS = 10


class EmbedWorker(Worker):  # type: ignore[misc]
    """One text in, one vector out; Mosec gathers the batches."""

    def __init__(self) -> None:
        self._encoder = PaddedEncoder(os.environ["BENCHMARK_MODEL"])

    def forward(self, data: list[dict[str, str]]) -> list[dict[str, Any]]:
        return [{"embedding": row} for row in self._encoder.embed([request["text"] for request in data])]


if __name__ == "__main__":
    server = Server()
    server.append_worker(EmbedWorker, num=1, max_batch_size=_MOST_TEXTS, max_wait_time=_WAIT_MILLISECONDS)
    server.run()
