"""The protocol's service on a real socket, over models that compute nothing and answer by a rule."""

import asyncio
import contextlib
import json
import struct
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import grpc
import pytest
from google.protobuf.message import Message

from loquor.internal.v1 import replica_service_pb2 as wire
from loquor.v1 import generation_pb2 as generation
from loquor.v1 import language_service_pb2 as api
from loquor.v1 import model_service_pb2 as models
from loquor.v1 import tensor_service_pb2 as tensors
from loquor_server import errors
from loquor_server.caller import Caller
from loquor_server.inference import open_inference_pb2 as oip
from loquor_server.model_settings import ModelSettings
from loquor_server.open_inference.log_settings import Logging
from loquor_server.open_inference.service import SERVICE_NAME, ServerControl, handlers
from loquor_server.open_inference.statistics import InferenceStatistics
from loquor_server.pending_request import Answer
from loquor_server.rpc import Rpc
from loquor_server.served_model import ModelState, Part
from loquor_server.tokenization import TextTokenizer, TokenizerPool

WORDS = ["[UNK]", "alpha", "beta", "gamma", "delta"]
TAGS = ["O", "B-X", "I-X", "B-Y", "I-Y"]

HELLOS = {
    "embedder": wire.WorkerHello(task=models.TASK_EMBED, embedding_dimensions=3),
    "classifier": wire.WorkerHello(
        task=models.TASK_CLASSIFY, labels=["no", "maybe", "yes"], label_scoring=wire.LABEL_SCORING_IDENTITY
    ),
    "writer": wire.WorkerHello(task=models.TASK_GENERATE),
    "tagger": wire.WorkerHello(task=models.TASK_TAG_TOKENS, labels=TAGS),
    "doubler": wire.WorkerHello(
        task=models.TASK_INFER,
        inputs=[
            tensors.TensorSignature(name="x", data_type=tensors.DATA_TYPE_FLOAT32, shape=[-1, 2]),
            tensors.TensorSignature(name="mask", data_type=tensors.DATA_TYPE_BFLOAT16, shape=[-1]),
        ],
        outputs=[
            tensors.TensorSignature(name="x_again", data_type=tensors.DATA_TYPE_FLOAT32, shape=[-1, 2]),
            tensors.TensorSignature(name="mask_again", data_type=tensors.DATA_TYPE_BFLOAT16, shape=[-1]),
        ],
    ),
}


class FakeModel:
    """Answers at once, or when `gate` opens. `callers` and `cancelled` say what reached it."""

    def __init__(self, name: str, tokenizer: TextTokenizer, statistics: InferenceStatistics) -> None:
        self.name = name
        self.version = 1
        self.hello = wire.WorkerHello(device="cpu", dtype="float32", sequence_tokens=8)
        self.hello.MergeFrom(HELLOS[name])
        self.settings = ModelSettings(max_texts_per_request=16)
        self.tokenizer = None if self.hello.task == models.TASK_INFER else tokenizer
        self.state = ModelState.READY
        self.reason = ""
        self.ready = True
        self.replicas = [SimpleNamespace(hello=self.hello)]
        self.callers: list[Caller] = []
        self.cancelled = 0
        self.running = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.failure: errors.RequestError | None = None
        self._statistics = statistics

    def in_use(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    async def run(self, parts: Sequence[Part], caller: Caller) -> list[Answer]:
        self.callers.append(caller)
        caller.check_deadline()
        if self.failure is not None:
            raise self.failure
        self.running += 1
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1
        answers = [Answer(self._tensors(part.submission), 0.25, 0.5, len(parts), 7) for part in parts]
        self._statistics.answered(cast("Any", self), answers)
        return answers

    def _tensors(self, submission: wire.Submission) -> list[tensors.Tensor]:
        ids = list(submission.tokens.ids)
        if self.hello.task == models.TASK_EMBED:
            scale = 1.0 if submission.tokens.normalize else 2.0
            return [_floats("embedding", [float(len(ids)), float(sum(ids)), scale])]
        if self.hello.task == models.TASK_CLASSIFY:
            return [_floats("logits", [float(ids.count(label)) for label in (1, 2, 3)])]
        if self.hello.task == models.TASK_TAG_TOKENS:
            return [tensors.Tensor(data=struct.pack(f"<{len(ids)}i", *ids)), _floats("scores", [0.5] * len(ids))]
        given = {tensor.name: tensor for tensor in submission.tensors.inputs}
        again = [tensors.Tensor(name=f"{name}_again") for name in ("x", "mask")]
        for tensor, name in zip(again, ("x", "mask"), strict=True):
            tensor.MergeFrom(given[name])
            tensor.name = f"{name}_again"
        return again


def _floats(name: str, values: Sequence[float]) -> tensors.Tensor:
    data = struct.pack(f"<{len(values)}f", *values)
    return tensors.Tensor(name=name, data_type=tensors.DATA_TYPE_FLOAT32, shape=[len(values)], data=data)


class FakeGeneration:
    """Writes each word of the prompt in capitals, a word a token, `max_tokens` of them at the most.

    A choice after the first has its number behind each word. It waits before the last word of a text until `gate`
    opens, and fails before it if the prompt ends in "fail".
    """

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.requests: list[api.GenerateRequest | api.GenerateBatchRequest] = []
        self.callers: list[Caller] = []
        self.written = 0
        self.running = 0
        self.failure: Exception = errors.Unavailable("the worker was lost")

    async def generate(
        self, request: api.GenerateRequest, caller: Caller
    ) -> AsyncGenerator[api.GenerateResponse, None]:
        self._note(request, caller)
        async with contextlib.aclosing(self._write(request.input, request.sampling)) as events:
            async for event in events:
                yield event

    async def generate_batch(
        self, request: api.GenerateBatchRequest, caller: Caller
    ) -> AsyncGenerator[api.GenerateBatchResponse, None]:
        self._note(request, caller)
        for index, given in reversed(list(enumerate(request.inputs))):
            try:
                async for event in self._write(given, request.sampling):
                    yield api.GenerateBatchResponse(index=index, event=event)
            except errors.RequestError as error:
                failed = api.StreamError(code=error.code.value[0], message=error.message)
                yield api.GenerateBatchResponse(index=index, error=failed)

    def _note(self, request: api.GenerateRequest | api.GenerateBatchRequest, caller: Caller) -> None:
        self.requests.append(request)
        self.callers.append(caller)
        caller.check_deadline()
        if request.sampling.temperature < 0:
            raise errors.InvalidArgument("sampling.temperature", "must be from 0 to 100")

    async def _write(
        self, given: generation.GenerationInput, sampling: generation.SamplingParams
    ) -> AsyncGenerator[api.GenerateResponse, None]:
        chat = [message.content for message in given.chat.messages]
        prompt = (given.prompt or " ".join(chat)).split()
        count = min(len(prompt), sampling.max_tokens or 256)
        self.running += 1
        try:
            yield api.GenerateResponse(started=generation.GenerationStarted(prompt_tokens=len(prompt)))
            for position, word in enumerate(prompt[:count]):
                if position == count - 1:
                    await self.gate.wait()
                    if prompt[-1] == "fail":
                        raise self.failure
                for choice in range(sampling.n or 1):
                    self.written += 1
                    yield api.GenerateResponse(delta=_delta(word, position, choice, sampling))
            for choice in range(sampling.n or 1):
                yield api.GenerateResponse(finished=_finished(choice, count, len(prompt)))
        finally:
            self.running -= 1


def _delta(word: str, position: int, choice: int, sampling: generation.SamplingParams) -> generation.GenerationDelta:
    text = f"{' ' if position else ''}{word.upper()}{choice or ''}"
    delta = generation.GenerationDelta(choice=choice, text=text)
    if sampling.HasField("logprobs"):
        token = delta.tokens.add(id=position, text=text, logprob=-0.5)
        for rank in range(sampling.logprobs):
            token.alternatives.add(id=100 - rank, text=f"other{rank}", logprob=-1.0 - rank)
    return delta


def _finished(choice: int, count: int, prompt_tokens: int) -> generation.GenerationFinished:
    reason = generation.FINISH_REASON_LENGTH if count < prompt_tokens else generation.FINISH_REASON_STOP
    finished = generation.GenerationFinished(choice=choice, reason=reason)
    finished.usage.completion_tokens = count
    return finished


class FakeRepository:
    """Holds `unloaded` beside the models, and two versions of one of them."""

    def names(self) -> list[str]:
        return sorted([*HELLOS, "unloaded"])

    def versions(self, name: str) -> list[int]:
        return [1, 2] if name == "embedder" else [1]


class FakeCatalog:
    def __init__(self, served: Sequence[FakeModel]) -> None:
        self.repository = FakeRepository()
        self.served = {model.name: model for model in served}
        self.loaded: list[str] = []
        self.unloaded: list[str] = []

    def models(self) -> Iterator[FakeModel]:
        yield from self.served.values()

    def find(self, name: str, version: int | None = None) -> FakeModel:
        if name == "unloaded":
            raise errors.Unavailable("model 'unloaded' is in the repository and not loaded")
        if name not in self.served or version not in (None, 1):
            raise errors.ModelNotFound(name, version)
        return self.served[name]

    async def load_newest(self, name: str, version: int | None) -> None:
        assert version is None
        self.loaded.append(name)

    async def unload(self, name: str, _version: int | None = None) -> None:
        self.unloaded.append(name)


class _NoObserver:
    def knows(self, model: str) -> bool:
        return True

    def ended(self, *_: object) -> None: ...


class Service:
    """The server and a channel to it. `call` and `stream` send whatever message they are given."""

    def __init__(self, tokenizer: TextTokenizer, *, allows_control: bool) -> None:
        self.statistics = InferenceStatistics()
        self.models = {name: FakeModel(name, tokenizer, self.statistics) for name in HELLOS}
        self.catalog = FakeCatalog(list(self.models.values()))
        self.generation = FakeGeneration()
        self.levels: list[str] = []
        self.logging = Logging("info", "json", self.levels.append)
        self.control = ServerControl("1.2.3", lambda: True, allows_control, self.logging)
        self.server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        rpc = Rpc(_NoObserver(), 60.0)
        made = handlers(rpc, cast("Any", self.catalog), self.statistics, self.control, self.generation)
        self.server.add_generic_rpc_handlers(tuple(made))
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.channel = grpc.aio.insecure_channel(f"127.0.0.1:{self.port}")

    async def call(self, method: str, request: Message, **options: Any) -> Any:
        response_type = getattr(oip, f"{method}Response")
        path = f"/{SERVICE_NAME}/{method}"
        call: Any = self.channel.unary_unary(
            path, lambda message: message.SerializeToString(), response_type.FromString
        )
        return await call(request, **{"timeout": 10, **options})

    async def refused(self, method: str, request: Message, **options: Any) -> tuple[grpc.StatusCode, str]:
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await self.call(method, request, **options)
        return refusal.value.code(), refusal.value.details() or ""

    def stream(self, **options: Any) -> Any:
        path = f"/{SERVICE_NAME}/ModelStreamInfer"
        call: Any = self.channel.stream_stream(
            path, oip.ModelInferRequest.SerializeToString, oip.ModelStreamInferResponse.FromString
        )
        return call(**{"timeout": 10, **options})


@pytest.fixture
def tokenizer(tmp_path: Path) -> Iterator[TextTokenizer]:
    """Words by blanks, no special tokens."""
    vocabulary = {word: index for index, word in enumerate(WORDS)}
    model = {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"}
    file = tmp_path / "tokenizer.json"
    file.write_text(json.dumps({"version": "1.0", "model": model, "pre_tokenizer": {"type": "Whitespace"}}))
    pool = TokenizerPool(1)
    yield TextTokenizer(pool, file)
    pool.close()


@pytest.fixture
async def start(tokenizer: TextTokenizer) -> AsyncIterator[Callable[..., Any]]:
    """Starts a `Service`; `allows_control` is false only if asked."""
    started: list[Service] = []

    async def start(*, allows_control: bool = True) -> Service:
        service = Service(tokenizer, allows_control=allows_control)
        await service.server.start()
        started.append(service)
        return service

    yield start
    for service in started:
        await service.channel.close()
        await service.server.stop(0)


@pytest.fixture
async def service(start: Callable[..., Any]) -> Service:
    return cast("Service", await start())


@pytest.fixture
def text_request() -> Callable[..., oip.ModelInferRequest]:
    """A request with texts in raw form."""

    def make(model: str, *texts: str, id: str = "", name: str = "text") -> oip.ModelInferRequest:
        request = oip.ModelInferRequest(model_name=model, id=id)
        request.inputs.add(name=name, datatype="BYTES", shape=[len(texts)])
        encoded = [text.encode() for text in texts]
        request.raw_input_contents.append(b"".join(struct.pack("<I", len(text)) + text for text in encoded))
        return request

    return make
