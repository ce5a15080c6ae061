"""A program with an unmodified `tritonclient`, run in a process of its own: `tritonclient_program.py ADDRESS`.

It makes every call that the client has and prints what came of each, by name, as one JSON object.
"""

import asyncio
import base64
import functools
import json
import queue
import sys
import threading
import traceback
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
from tritonclient.grpc import InferenceServerClient as Client
from tritonclient.grpc import InferInput, InferRequestedOutput
from tritonclient.grpc.aio import InferenceServerClient as AsyncClient
from tritonclient.utils import InferenceServerException

TEXTS = ["The cat sat on the mat.", "", "Olá, mundo!", "a " * 40]


def texts_input(*texts: str, name: str = "text", shape: list[int] | None = None) -> InferInput:
    tensor = InferInput(name, shape or [len(texts)], "BYTES")
    tensor.set_data_from_numpy(np.array([text.encode() for text in texts], dtype=np.object_).reshape(tensor.shape()))
    return tensor


def pair_of_tensors(rows: int) -> list[InferInput]:
    inputs = []
    for name, offset in (("x", 0), ("y", 100)):
        tensor = InferInput(name, [rows, 2], "FP32")
        tensor.set_data_from_numpy(np.arange(2 * rows, dtype=np.float32).reshape(rows, 2) + offset)
        inputs.append(tensor)
    return inputs


def refusal(call: Callable[[], Any]) -> list[str]:
    try:
        call()
    except InferenceServerException as error:
        return [str(error.status()), error.message()]
    return ["OK", ""]


# --- what is told of the server and its models ---


def server(client: Client) -> Any:
    return {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "models": [client.is_model_ready(name) for name in ("minilm", "sentiment", "adder", "nobody")],
        "metadata": client.get_server_metadata(as_json=True),
    }


def models(client: Client) -> Any:
    names = ("minilm", "sentiment", "adder")
    return {
        "metadata": {name: client.get_model_metadata(name, as_json=True) for name in names},
        "config": {name: client.get_model_config(name, as_json=True)["config"] for name in names},
        "index": client.get_model_repository_index(as_json=True)["models"],
    }


def settings(client: Client) -> Any:
    before = client.get_log_settings(as_json=True)
    quieter = client.update_log_settings({"log_info": False}, as_json=True)
    again = client.update_log_settings({"log_verbose_level": 1, "log_info": True}, as_json=True)
    return {
        "trace": client.get_trace_settings(as_json=True),
        "trace_cleared": client.update_trace_settings(settings={"trace_level": None}, as_json=True),
        "trace_refused": refusal(lambda: client.update_trace_settings(settings={"trace_level": ["TIMESTAMPS"]})),
        "log": [before, quieter, again],
    }


def shared_memory(client: Client) -> Any:
    tensor = InferInput("text", [1], "BYTES")
    tensor.set_shared_memory("region", 16)
    status = [client.get_system_shared_memory_status(as_json=True), client.get_cuda_shared_memory_status(as_json=True)]
    client.unregister_system_shared_memory()
    client.unregister_cuda_shared_memory()
    return {
        "status": status,
        "refused": [
            refusal(lambda: client.register_system_shared_memory("region", "/key", 16)),
            refusal(lambda: client.register_cuda_shared_memory("region", base64.b64encode(b"handle"), 0, 16)),
            refusal(lambda: client.infer("minilm", [tensor])),
        ],
    }


def repository(client: Client) -> Any:
    client.unload_model("sentiment")
    states = [client.is_model_ready("sentiment")]
    refused = refusal(lambda: client.infer("sentiment", [texts_input("good")]))
    client.load_model("sentiment")
    states.append(client.is_model_ready("sentiment"))
    return {
        "states": states,
        "while_unloaded": refused,
        "overridden": refusal(lambda: client.load_model("sentiment", config="{}")),
        "with_files": refusal(lambda: client.load_model("sentiment", config="{}", files={"file:1/x": b"x"})),
        "unknown": [refusal(lambda: client.load_model("nobody")), refusal(lambda: client.unload_model("nobody"))],
    }


# --- inference ---


def embeddings(client: Client) -> Any:
    flat = client.infer("minilm", [texts_input(*TEXTS)], request_id="first", priority=1, timeout=60_000_000)
    column = client.infer("minilm", [texts_input(*TEXTS, shape=[len(TEXTS), 1])], model_version="1")
    packed = client.infer("minilm", [texts_input(*TEXTS)], compression_algorithm="gzip", parameters={"normalize": True})
    vectors = flat.as_numpy("embedding")
    return {
        "id": flat.get_response().id,
        "version": flat.get_response().model_version,
        "vectors": vectors.tolist(),
        "same": [bool(np.allclose(vectors, other.as_numpy("embedding"), atol=1e-5)) for other in (column, packed)],
    }


def labels(client: Client) -> Any:
    best = InferRequestedOutput("score", class_count=2)
    pair = [texts_input("good"), texts_input("bad", name="text_pair")]
    result = client.infer("sentiment", [texts_input("good", "bad bad")])
    classified = client.infer("sentiment", [texts_input("good", "bad bad")], outputs=[best])
    paired = client.infer("sentiment", pair)
    return {
        "labels": [label.decode() for label in result.as_numpy("label")],
        "scores": result.as_numpy("score").tolist(),
        "classified": [[e.decode() for e in row] for row in classified.as_numpy("score")],
        "outputs": [output.name for output in classified.get_response().outputs],
        "pair": paired.as_numpy("score").shape,
    }


def tensors(client: Client) -> Any:
    result = client.infer("adder", pair_of_tensors(3))
    return {"sum": result.as_numpy("sum").tolist(), "names": [o.name for o in result.get_response().outputs]}


def errors(client: Client) -> Any:
    wrong_type = InferInput("x", [1, 2], "INT64")
    wrong_type.set_data_from_numpy(np.zeros((1, 2), dtype=np.int64))
    return {
        "unknown_model": refusal(lambda: client.infer("nobody", [texts_input("a")])),
        "unknown_version": refusal(lambda: client.infer("minilm", [texts_input("a")], model_version="7")),
        "unknown_output": refusal(
            lambda: client.infer("minilm", [texts_input("a")], outputs=[InferRequestedOutput("x")])
        ),
        "wrong_input": refusal(lambda: client.infer("minilm", [texts_input("a", name="texts")])),
        "wrong_type": refusal(lambda: client.infer("adder", [wrong_type, pair_of_tensors(1)[1]])),
        "too_long": refusal(lambda: client.infer("minilm", [texts_input("word " * 2000)])),
        "truncated": refusal(
            lambda: client.infer("minilm", [texts_input("word " * 2000)], parameters={"truncate": True})
        ),
        "sequence": refusal(lambda: client.infer("minilm", [texts_input("a")], sequence_id=4)),
        "timeout": refusal(lambda: client.infer("minilm", [texts_input("a")], timeout=1)),
    }


def asynchronous(client: Client) -> Any:
    done: queue.Queue[Any] = queue.Queue()
    for index in range(8):
        call = [texts_input("cat " * (index + 1))]
        client.async_infer("minilm", call, lambda result, error: done.put((result, error)), request_id=str(index))
    results = [done.get(timeout=60) for _ in range(8)]
    return {
        "ids": sorted(result.get_response().id for result, _ in results),
        "errors": [str(error) for _, error in results if error],
    }


def statistics(client: Client) -> Any:
    return {
        "one": client.get_inference_statistics("minilm", as_json=True)["model_stats"],
        "all": [stats["name"] for stats in client.get_inference_statistics(as_json=True)["model_stats"]],
    }


# --- streams ---


def stream(client: Client) -> Any:
    done: queue.Queue[Any] = queue.Queue()
    client.start_stream(callback=lambda result, error: done.put((result, error)))
    for index in range(6):
        name = "nobody" if index == 3 else "minilm"
        client.async_stream_infer(
            name, [texts_input("dog " * (index + 1))], request_id=str(index), enable_empty_final_response=True
        )
    answers = [done.get(timeout=60) for _ in range(6)]
    client.stop_stream()
    responses = [result.get_response() for result, error in answers if error is None]
    return {
        "ids": sorted(response.id for response in responses),
        "final": [response.parameters["triton_final_response"].bool_param for response in responses],
        "errors": [error.message() for _, error in answers if error is not None],
    }


def cancelled_stream(client: Client) -> Any:
    """A stream that is cancelled with much under way, and the server after it."""
    client.start_stream(callback=lambda result, error: None)
    for _ in range(40):
        client.async_stream_infer("minilm", [texts_input(*["a long sentence " * 20] * 8)])
    client.stop_stream(cancel_requests=True)
    return client.infer("minilm", [texts_input("after")]).as_numpy("embedding").shape


def status_stream(client: Client) -> Any:
    """With `triton_grpc_error`, a failure ends the stream with its status."""
    ended: list[Any] = []
    told = threading.Event()

    def answered(result: Any, error: Any) -> None:
        ended.append(error)
        told.set()

    client.start_stream(callback=answered, headers={"triton_grpc_error": "true"})
    client.async_stream_infer("nobody", [texts_input("a")])
    told.wait(60)
    client.stop_stream()
    return [ended[0].status(), ended[0].message()]


# --- the asyncio client ---


async def aio(address: str) -> Any:
    async with AsyncClient(address) as client:
        results = await asyncio.gather(
            *(client.infer("minilm", [texts_input("bird " * (i + 1))], request_id=str(i)) for i in range(16))
        )
        return {
            "ready": await client.is_model_ready("minilm"),
            "ids": [result.get_response().id for result in results],
            "distinct": len({result.as_numpy("embedding").tobytes() for result in results}),
            "sum": (await client.infer("adder", pair_of_tensors(1))).as_numpy("sum").tolist(),
            "unknown": await _aio_refusal(client),
            "streamed": await _aio_stream(client),
        }


async def _aio_refusal(client: AsyncClient) -> list[str]:
    try:
        await client.infer("nobody", [texts_input("a")])
    except InferenceServerException as error:
        return [str(error.status()), error.message()]
    return ["OK", ""]


async def _aio_stream(client: AsyncClient) -> Any:
    async def requests() -> AsyncIterator[dict[str, Any]]:
        for index in range(5):
            yield {"model_name": "minilm", "inputs": [texts_input("fish " * (index + 1))], "request_id": str(index)}

    return sorted([result.get_response().id async for result, error in client.stream_infer(requests()) if not error])


PARTS: list[Callable[[Client], Any]] = [
    server,
    models,
    settings,
    shared_memory,
    repository,
    embeddings,
    labels,
    tensors,
    errors,
    asynchronous,
    stream,
    cancelled_stream,
    status_stream,
    statistics,
]


def told_by(part: Callable[[], Any]) -> Any:
    """What a part tells, or how it failed, so that the others are told all the same."""
    try:
        return part()
    except Exception:
        return {"failed": traceback.format_exc()}


def main(address: str) -> None:
    told: dict[str, Any] = {"texts": TEXTS}
    for part in PARTS:
        with Client(address) as client:
            told[part.__name__] = told_by(functools.partial(part, client))
    told["aio"] = told_by(lambda: asyncio.run(aio(address)))
    print(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1])
