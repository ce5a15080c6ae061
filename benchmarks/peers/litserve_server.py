"""The encoder behind LitServe with dynamic batching: `litserve_server.py PORT MODEL_FOLDER`."""

import sys
from typing import Any

import litserve  # type: ignore[import-not-found]
from padded import PaddedEncoder  # type: ignore[import-not-found]

_MOST_TEXTS = 32
_WAIT_SECONDS = 0.01
_CALL_SECONDS = 120


class EmbedApi(litserve.LitAPI):  # type: ignore[misc]
    """One text in, one vector out; LitServe gathers the batches."""

    def setup(self, device: str) -> None:
        self._encoder = PaddedEncoder(sys.argv[2])

    def decode_request(self, request: dict[str, str]) -> str:
        return request["text"]

    def batch(self, inputs: list[str]) -> list[str]:
        return list(inputs)

    def predict(self, texts: list[str]) -> list[list[float]]:
        rows: list[list[float]] = self._encoder.embed(texts)
        return rows

    def unbatch(self, output: list[list[float]]) -> list[list[float]]:
        return output

    def encode_response(self, output: list[float]) -> dict[str, Any]:
        return {"embedding": output}


if __name__ == "__main__":
    api = EmbedApi(max_batch_size=_MOST_TEXTS, batch_timeout=_WAIT_SECONDS)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1, timeout=_CALL_SECONDS)
    port = int(sys.argv[1])
    server.run(host="127.0.0.1", port=port, num_api_servers=1, log_level="warning", generate_client_file=False)
