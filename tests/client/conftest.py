"""A server that is told how to answer, behind a real socket."""

import queue
import random
import threading
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from typing import Any

import grpc
import pytest

import loquor
from loquor.v1 import language_service_pb2 as language
from loquor.v1 import model_service_pb2 as model
from loquor.v1 import tensor_service_pb2 as tensor
from loquor.v1 import usage_pb2
from tests.client.fake_generation import FakeGeneration

Failure = tuple[grpc.StatusCode, tuple[tuple[str, str], ...]]


def vector_of(text: str) -> list[float]:
    """What the fake server answers for a text: distinct, and exact in float32."""
    return [float(len(text)), float(zlib.crc32(text.encode()) & 0xFFFF), 0.5]


class FakeServer:
    """Fails as often as `failures` says, else answers. `calls` holds the path and the metadata of every try."""

    def __init__(self, address: str = "127.0.0.1:0", credentials: grpc.ServerCredentials | None = None) -> None:
        self.failures: deque[Failure] = deque()
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.deadlines: list[float] = []
        self.requests: list[Any] = []
        self.stream_failures: dict[str, deque[tuple[int, str]]] = {}
        self.streams_to_break: deque[int] = deque()
        self.stream_is_mute = False
        self.most_under_way = 0
        self.random = random.Random(1)
        self.before_answer: Callable[[], object] = lambda: None
        self.serving = True
        self.generation = FakeGeneration()
        self._server = grpc.server(futures.ThreadPoolExecutor(16), options=[("grpc.so_reuseport", 0)])
        self._server.add_generic_rpc_handlers((_Handlers(self),))
        if credentials is None:
            self.port = self._server.add_insecure_port(address)
        else:
            self.port = self._server.add_secure_port(address, credentials)
        self.address = f"127.0.0.1:{self.port}"
        self._server.start()

    def stop(self) -> None:
        self._server.stop(0).wait()

    def unary(self, path: str, request: Any, context: grpc.ServicerContext) -> Any:
        self._record(path, request, context)
        if self.failures:
            self._fail(context, self.failures.popleft())
        self.before_answer()
        return _ANSWERS[path.rpartition("/")[2]](request)

    def check(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        self._record("/grpc.health.v1.Health/Check", request, context)
        return b"\x08\x01" if self.serving else b"\x08\x02"

    def server_stream(self, name: str, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        self._record(f"/loquor.v1.LanguageService/{name}", request, context)
        if self.failures:
            self._fail(context, self.failures.popleft())
        play = self.generation.generate if name == "Generate" else self.generation.generate_batch
        yield from play(request, context)

    def embed_stream(
        self, requests: Iterable[language.EmbedStreamRequest], context: grpc.ServicerContext
    ) -> Iterator[language.EmbedStreamResponse]:
        """Answers in random order, and breaks off after as many answers as `streams_to_break` says."""
        self._record("/loquor.v1.LanguageService/EmbedStream", None, context)
        if self.failures:
            self._fail(context, self.failures.popleft())
        left = self.streams_to_break.popleft() if self.streams_to_break else None
        for item in self._shuffled(requests):
            if left == 0:
                context.abort(grpc.StatusCode.UNAVAILABLE, "the server goes away")
            left = None if left is None else left - 1
            if not self.stream_is_mute:
                yield self._stream_answer(item)

    def _shuffled(self, requests: Iterable[language.EmbedStreamRequest]) -> Iterator[language.EmbedStreamRequest]:
        inbox: queue.Queue[language.EmbedStreamRequest | None] = queue.Queue()
        threading.Thread(target=_pump, args=(requests, inbox), daemon=True).start()
        held: list[language.EmbedStreamRequest] = []
        is_open = True
        while is_open or held:
            try:
                item = inbox.get(timeout=0.003)
                is_open = is_open and item is not None
                held += [item] if item is not None else []
                self.most_under_way = max(self.most_under_way, len(held))
            except queue.Empty:
                if held:
                    yield held.pop(self.random.randrange(len(held)))

    def _stream_answer(self, item: language.EmbedStreamRequest) -> language.EmbedStreamResponse:
        if self.stream_failures.get(item.id):
            code, message = self.stream_failures[item.id].popleft()
            return language.EmbedStreamResponse(id=item.id, error=language.StreamError(code=code, message=message))
        return language.EmbedStreamResponse(id=item.id, response=_embed(item.request))

    def _record(self, path: str, request: Any, context: grpc.ServicerContext) -> None:
        self.calls.append((path, dict(context.invocation_metadata())))
        self.deadlines.append(context.time_remaining())
        self.requests.append(request)

    def _fail(self, context: grpc.ServicerContext, failure: Failure) -> None:
        code, trailers = failure
        context.set_trailing_metadata(trailers)
        context.abort(code, "told to fail")


class _Handlers(grpc.GenericRpcHandler):  # type: ignore[misc, unused-ignore]
    def __init__(self, server: FakeServer) -> None:
        self._server = server

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        path, server = details.method, self._server
        name = path.rpartition("/")[2]
        if name == "Check":
            return grpc.unary_unary_rpc_method_handler(server.check)
        if name == "EmbedStream":
            return grpc.stream_stream_rpc_method_handler(
                server.embed_stream,
                language.EmbedStreamRequest.FromString,
                language.EmbedStreamResponse.SerializeToString,
            )
        if name not in _ANSWERS and name not in _SERVER_STREAMS:
            return None
        request = next(
            getattr(of, f"{name}Request") for of in (language, model, tensor) if hasattr(of, f"{name}Request")
        )
        if name in _SERVER_STREAMS:
            return grpc.unary_stream_rpc_method_handler(
                lambda message, context: server.server_stream(name, message, context),
                request.FromString,
                lambda answer: answer.SerializeToString(),
            )
        return grpc.unary_unary_rpc_method_handler(
            lambda message, context: server.unary(path, message, context),
            request.FromString,
            lambda answer: answer.SerializeToString(),
        )


def _pump(requests: Iterable[Any], inbox: "queue.Queue[Any]") -> None:
    try:
        for item in requests:
            inbox.put(item)
    except grpc.RpcError:
        pass  # the client went away
    inbox.put(None)


def _embed(request: language.EmbedRequest) -> language.EmbedResponse:
    embeddings = [language.Embedding(values=vector_of(text), tokens=len(text)) for text in request.texts]
    return language.EmbedResponse(
        model=request.model,
        version=request.version or 1,
        embeddings=embeddings,
        usage=usage_pb2.Usage(prompt_tokens=sum(map(len, request.texts))),
        timings=usage_pb2.Timings(queue_seconds=0.25, batch_size=len(embeddings)),
    )


def _classify(request: language.ClassifyRequest) -> language.ClassifyResponse:
    scores = [language.LabelScore(label="yes", score=0.75), language.LabelScore(label="no", score=0.25)]
    kept = scores[: request.top_k] if request.HasField("top_k") else scores
    one = [
        language.Classification(labels=kept, tokens=2 if item.HasField("text_pair") else 1) for item in request.inputs
    ]
    return language.ClassifyResponse(model=request.model, version=1, classifications=one)


def _tag_tokens(request: language.TagTokensRequest) -> language.TagTokensResponse:
    tagged = [
        language.TaggedText(spans=[language.Span(label="ALL", score=1.0, start=0, end=len(text), text=text)])
        for text in request.texts
    ]
    return language.TagTokensResponse(model=request.model, version=1, tagged_texts=tagged)


def _tokenize(request: language.TokenizeRequest) -> language.TokenizeResponse:
    tokenizations = [
        language.Tokenization(
            tokens=[language.Token(id=ord(c), text=c, start=i, end=i + 1) for i, c in enumerate(text)]
        )
        for text in request.texts
    ]
    return language.TokenizeResponse(model=request.model, version=1, tokenizations=tokenizations)


def _detokenize(request: language.DetokenizeRequest) -> language.DetokenizeResponse:
    texts = ["".join(map(chr, sequence.ids)) for sequence in request.sequences]
    return language.DetokenizeResponse(model=request.model, version=1, texts=texts)


def _infer(request: tensor.InferRequest) -> tensor.InferResponse:
    outputs = [item for item in request.inputs if not request.output_names or item.name in request.output_names]
    return tensor.InferResponse(model=request.model, version=1, outputs=outputs)


def _model(name: str = "minilm", version: int = 1) -> model.Model:
    return model.Model(
        name=name,
        version=version,
        state=model.MODEL_STATE_READY,
        task=model.TASK_GENERATE if name == "smollm2" else model.TASK_EMBED,
        limits=model.Limits(sequence_tokens=256, texts_per_request=64),
        dtype="float32",
        devices=["cpu"],
        replicas=[model.Replica(index=0, state=model.REPLICA_STATE_READY, device="cpu", steps=7)],
        embedding_dimensions=3,
        inputs=[model_input()],
    )


def model_input() -> tensor.TensorSignature:
    return tensor.TensorSignature(name="x", data_type=tensor.DATA_TYPE_FLOAT32, shape=[-1, 4])


_SERVER_STREAMS = ("Generate", "GenerateBatch")
_ANSWERS: dict[str, Callable[[Any], Any]] = {
    "Embed": _embed,
    "Classify": _classify,
    "TagTokens": _tag_tokens,
    "Tokenize": _tokenize,
    "Detokenize": _detokenize,
    "Infer": _infer,
    "ListModels": lambda request: model.ListModelsResponse(models=[_model(), _model("rampart", 2)]),
    "GetModel": lambda request: model.GetModelResponse(model=_model(request.name, request.version or 1)),
    "LoadModel": lambda request: model.LoadModelResponse(model=_model(request.name, request.version or 1)),
    "UnloadModel": lambda request: model.UnloadModelResponse(),
}


@pytest.fixture
def vector() -> Callable[[str], list[float]]:
    return vector_of


@pytest.fixture
def server() -> Iterator[FakeServer]:
    fake = FakeServer()
    yield fake
    fake.stop()


@pytest.fixture
def make_server() -> Iterator[Callable[..., FakeServer]]:
    """Starts a server at an address, with credentials; as many as wanted."""
    started: list[FakeServer] = []

    def start(*arguments: Any) -> FakeServer:
        started.append(FakeServer(*arguments))
        return started[-1]

    yield start
    for fake in started:
        fake.stop()


@pytest.fixture
def client(server: FakeServer) -> Iterator[loquor.Client]:
    with loquor.Client(server.address, deadline_seconds=5) as made:
        yield made
