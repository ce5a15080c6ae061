"""Text from an unmodified `tritonclient`, in a process of its own: `python -m tests.end_to_end.tritonclient_generation
ADDRESS MODEL`.

It asks the model in every way that the client has, and prints what came of each, by name, as one JSON object.
"""

import asyncio
import functools
import json
import queue
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import numpy as np
from tritonclient.grpc import InferenceServerClient as Client
from tritonclient.grpc import InferInput, InferRequestedOutput
from tritonclient.grpc.aio import InferenceServerClient as AsyncClient

from tests.end_to_end.tritonclient_program import refusal, texts_input, told_by

PROMPT = "Write of the sea"


def prompt_inputs(*prompts: str, sampling: Mapping[str, Any] | None = None, **flags: bool) -> list[InferInput]:
    inputs = [texts_input(*prompts, name="text_input")]
    parameters = {"temperature": 0, "max_tokens": 8, **(sampling or {})}
    inputs.append(texts_input(json.dumps(parameters), name="sampling_parameters"))
    for name, value in flags.items():
        tensor = InferInput(name, [1], "BOOL")
        tensor.set_data_from_numpy(np.array([value]))
        inputs.append(tensor)
    return inputs


def written(result: Any, name: str = "text_output") -> list[str]:
    return [element.decode() for element in result.as_numpy(name)]


def answers(client: Client, model: str) -> Any:
    returned = {
        "return_finish_reason": True,
        "return_cumulative_logprob": True,
        "return_logprobs": True,
        "return_num_input_tokens": True,
        "return_num_output_tokens": True,
    }
    full = client.infer(model, prompt_inputs(PROMPT, sampling=None, **returned), request_id="7")
    flat = [texts_input(PROMPT, name="text_input", shape=[1, 1])]
    for name, datatype, value in (("max_tokens", "INT32", np.int32(3)), ("temperature", "FP32", np.float32(0))):
        flat.append(InferInput(name, [1, 1], datatype))
        flat[-1].set_data_from_numpy(np.array([[value]]))
    chat = [texts_input(json.dumps([{"role": "user", "content": PROMPT}]), name="messages")]
    return {
        "id": full.get_response().id,
        "text": written(full),
        "finish_reason": written(full, "finish_reason"),
        "logprobs": [json.loads(text) for text in written(full, "logprobs")],
        "cumulative_logprob": full.as_numpy("cumulative_logprob").tolist(),
        "input_tokens": full.as_numpy("num_input_tokens").tolist(),
        "output_tokens": full.as_numpy("num_output_tokens").tolist(),
        "many": written(client.infer(model, prompt_inputs(PROMPT, "another", PROMPT))),
        "choices": written(client.infer(model, prompt_inputs(PROMPT, sampling={"n": 3}))),
        "with_prompt": written(client.infer(model, prompt_inputs(PROMPT, exclude_input_in_output=False))),
        "flat": written(client.infer(model, flat)),
        "by_parameters": written(
            client.infer(
                model, [texts_input(PROMPT, name="text_input")], parameters={"max_tokens": 3, "temperature": 0}
            )
        ),
        "chat": refusal(lambda: client.infer(model, chat)),
    }


def description(client: Client, model: str) -> Any:
    return {
        "metadata": client.get_model_metadata(model, as_json=True),
        "config": client.get_model_config(model, as_json=True)["config"],
        "index": client.get_model_repository_index(as_json=True)["models"],
        "statistics": client.get_inference_statistics(model, as_json=True)["model_stats"],
    }


def errors(client: Client, model: str) -> Any:
    def refused(**sampling: Any) -> list[str]:
        return refusal(lambda: client.infer(model, prompt_inputs(PROMPT, sampling=sampling)))

    return {
        "unknown_parameter": refused(beam_size=2),
        "range": refused(temperature=-1),
        "kind": refused(max_tokens="many"),
        "input": refusal(lambda: client.infer(model, [texts_input(PROMPT)])),
        "empty": refusal(lambda: client.infer(model, [])),
        "output": refusal(
            lambda: client.infer(model, prompt_inputs(PROMPT), outputs=[InferRequestedOutput("embedding")])
        ),
    }


class StreamReader:
    """Gathers the answers of a stream: the pieces of each request, its finals and its errors, by its id."""

    def __init__(self) -> None:
        self.pieces: dict[str, list[str]] = {}
        self.finals: dict[str, list[bool]] = {}
        self.outputs: dict[str, list[int]] = {}
        self.errors: list[str] = []
        self._ended: queue.Queue[str] = queue.Queue()

    def take(self, result: Any, error: Any) -> None:
        if error is not None:
            self.errors.append(error.message())
            self._ended.put("")
            return
        response = result.get_response()
        final = response.parameters["triton_final_response"].bool_param
        self.finals.setdefault(response.id, []).append(final)
        self.outputs.setdefault(response.id, []).append(len(response.outputs))
        self.pieces.setdefault(response.id, []).extend(written(result) if response.outputs else [])
        if final:
            self._ended.put(response.id)

    def wait(self, requests: int) -> None:
        for _ in range(requests):
            self._ended.get(timeout=60)

    @property
    def told(self) -> Any:
        texts = {id: "".join(pieces) for id, pieces in self.pieces.items()}
        return {"texts": texts, "finals": self.finals, "outputs": self.outputs, "errors": self.errors}


def stream(client: Client, model: str) -> Any:
    """Many requests on one stream, of which one fails."""
    reader = StreamReader()
    client.start_stream(callback=reader.take)
    for index in range(6):
        sampling = {"temperature": -1} if index == 3 else {}
        client.async_stream_infer(
            model,
            prompt_inputs(PROMPT, sampling=sampling, stream=index != 5),
            request_id=str(index),
            enable_empty_final_response=index == 4,
        )
    reader.wait(6)
    client.stop_stream()
    return reader.told


def cancelled(client: Client, model: str) -> Any:
    """A stream that is cancelled with much under way, and the server after it."""
    reader = StreamReader()
    client.start_stream(callback=reader.take)
    for index in range(8):
        client.async_stream_infer(
            model, prompt_inputs(PROMPT, sampling={"max_tokens": 100}, stream=True), request_id=str(index)
        )
    client.stop_stream(cancel_requests=True)
    return written(client.infer(model, prompt_inputs(PROMPT)))


def status(client: Client, model: str) -> Any:
    """With `triton_grpc_error`, a failure ends the stream with its status."""
    ended: queue.Queue[Any] = queue.Queue()
    client.start_stream(callback=lambda result, error: ended.put(error), headers={"triton_grpc_error": "true"})
    client.async_stream_infer(model, prompt_inputs(PROMPT, sampling={"temperature": -1}, stream=True))
    error = ended.get(timeout=60)
    client.stop_stream()
    return [error.status(), error.message()]


async def aio(address: str, model: str) -> Any:
    async def requests() -> AsyncIterator[dict[str, Any]]:
        for index in range(4):
            yield {"model_name": model, "inputs": prompt_inputs(PROMPT, stream=True), "request_id": str(index)}

    reader = StreamReader()
    async with AsyncClient(address) as client:
        async for result, error in client.stream_infer(requests()):
            reader.take(result, error)
        unary = await asyncio.gather(*(client.infer(model, prompt_inputs(PROMPT)) for _ in range(4)))
    return {"stream": reader.told, "unary": [written(result) for result in unary]}


PARTS: list[Callable[[Client, str], Any]] = [
    answers,
    errors,
    stream,
    cancelled,
    status,
    description,
]


def main(address: str, model: str) -> None:
    told: dict[str, Any] = {"prompt": PROMPT}
    for part in PARTS:
        with Client(address) as client:
            told[part.__name__] = told_by(functools.partial(part, client, model))
    told["aio"] = told_by(lambda: asyncio.run(aio(address, model)))
    print(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
