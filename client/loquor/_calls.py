"""The API, written once: every call as a coroutine over a transport, which may await or block.

`AsyncClient` is these calls over `grpc.aio`; `Client` drives the same coroutines over gRPC's blocking stack.
"""

import itertools
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from loquor import _methods as methods
from loquor import _replies as replies
from loquor import _requests as requests
from loquor._bulk import Bulk, BulkSettings
from loquor._channel import check_deadline
from loquor._connection import ClientState
from loquor._errors import DeadlineExceeded, NotFound, Unavailable
from loquor._generation_calls import GenerationCalls
from loquor._health import CHECK
from loquor._models import Health, Model
from loquor._requests import Inputs, Texts
from loquor._tensors import InferResult
from loquor._transport import CallContext
from loquor._types import ClassifyResult, DetokenizeResult, Embedding, EmbedResult, TagTokensResult, TokenizeResult
from loquor.v1 import language_service_pb2 as language
from loquor.v1 import model_service_pb2 as model_service
from loquor.v1 import tensor_service_pb2 as tensor

_POLL_SECONDS = 0.1


class Calls(GenerationCalls):
    """What both clients can do."""

    async def embed(
        self,
        model: str,
        texts: Texts,
        *,
        version: int | None = None,
        truncate: bool = False,
        normalize: bool | None = None,
        priority: int | None = None,
        request_id: str | None = None,
        deadline_seconds: float | None = None,
    ) -> EmbedResult:
        """One vector for each text.

        A text longer than the model reads is refused, or cut with `truncate`. `normalize` scales every vector to length
        1; by default the model's own files say. `version` is the one served, unless named. `priority` is 1 (first) to 9
        (last), 5 by default.
        """
        request = requests.embed_request(model, texts, version, truncate, normalize)
        context = self._context(request_id, deadline_seconds, priority)
        return replies.embed_result(await self._call(methods.EMBED, request, context), context.request_id)

    async def embed_many(
        self,
        model: str,
        texts: Iterable[str],
        *,
        batch_size: int = 32,
        window: int = 16,
        progress: Callable[[int], None] | None = None,
        version: int | None = None,
        truncate: bool = False,
        normalize: bool | None = None,
        priority: int | None = None,
        request_id: str | None = None,
        deadline_seconds: float | None = None,
    ) -> AsyncIterator[Embedding]:
        """One vector for each text of any number of texts, in their order, over one stream.

        At most `window` batches of `batch_size` texts are read ahead, so `texts` may be a generator without an end.
        `progress` is called with the number of texts answered so far, once for each batch. A stream that breaks is
        opened again and what had no answer is sent again; a batch that fails for good raises.
        `deadline_seconds` is for one batch: a wait for an answer ends after at most twice that.
        """
        _check_at_least_one(batch_size=batch_size, window=window)
        context = self._context(request_id, deadline_seconds, priority)

        def request(batch: list[str], name: str) -> language.EmbedRequest:
            return requests.embed_request(model, batch, version, truncate, normalize, name)

        bulk = self._bulk(_batches(texts, batch_size, request), window, context)
        done = 0
        async for response in bulk.responses():
            done += len(response.embeddings)
            if progress is not None:
                progress(done)
            for embedding in replies.embeddings(response):
                yield embedding

    async def classify(
        self,
        model: str,
        inputs: Inputs,
        *,
        top_k: int | None = None,
        raw_scores: bool = False,
        version: int | None = None,
        truncate: bool = False,
        priority: int | None = None,
        request_id: str | None = None,
        deadline_seconds: float | None = None,
    ) -> ClassifyResult:
        """Labels with scores, best first, for each text or pair of texts.

        A tuple is a pair; a list is several inputs, each a text or a pair. `top_k` keeps the best labels alone;
        `raw_scores` gives logits in place of probabilities. The rest is as in `embed`.
        """
        request = requests.build(
            language.ClassifyRequest,
            model=model,
            version=version,
            inputs=requests.classify_inputs(inputs),
            truncate=truncate,
            top_k=top_k,
            raw_scores=raw_scores,
        )
        context = self._context(request_id, deadline_seconds, priority)
        return replies.classify_result(await self._call(methods.CLASSIFY, request, context), context.request_id)

    async def tag_tokens(
        self,
        model: str,
        texts: Texts,
        *,
        min_score: float | None = None,
        version: int | None = None,
        truncate: bool = False,
        priority: int | None = None,
        request_id: str | None = None,
        deadline_seconds: float | None = None,
    ) -> TagTokensResult:
        """Labelled spans of each text, such as named entities; those that score less than `min_score` are left out."""
        request = requests.build(
            language.TagTokensRequest,
            model=model,
            version=version,
            texts=requests.check_texts(texts),
            truncate=truncate,
            min_score=min_score,
        )
        context = self._context(request_id, deadline_seconds, priority)
        return replies.tag_tokens_result(await self._call(methods.TAG_TOKENS, request, context), context.request_id)

    async def tokenize(
        self,
        model: str,
        texts: Texts,
        *,
        add_special_tokens: bool = True,
        version: int | None = None,
        request_id: str | None = None,
        deadline_seconds: float | None = None,
    ) -> TokenizeResult:
        """The tokens of each text by the model's own tokenizer, never truncated."""
        request = requests.build(
            language.TokenizeRequest,
            model=model,
            version=version,
            texts=requests.check_texts(texts),
            add_special_tokens=add_special_tokens,
        )
        context = self._context(request_id, deadline_seconds)
        return replies.tokenize_result(await self._call(methods.TOKENIZE, request, context), context.request_id)

    async def detokenize(
        self,
        model: str,
        sequences: Sequence[int] | Sequence[Sequence[int]],
        *,
        skip_special_tokens: bool = True,
        version: int | None = None,
        request_id: str | None = None,
        deadline_seconds: float | None = None,
    ) -> DetokenizeResult:
        """The text of each sequence of token ids."""
        request = requests.build(
            language.DetokenizeRequest,
            model=model,
            version=version,
            sequences=requests.token_sequences(sequences),
            skip_special_tokens=skip_special_tokens,
        )
        context = self._context(request_id, deadline_seconds)
        return replies.detokenize_result(await self._call(methods.DETOKENIZE, request, context), context.request_id)

    async def infer(
        self,
        model: str,
        inputs: Mapping[str, Any],
        *,
        outputs: Sequence[str] = (),
        version: int | None = None,
        priority: int | None = None,
        request_id: str | None = None,
        deadline_seconds: float | None = None,
    ) -> InferResult:
        """Tensors in, tensors out, by name.

        Each input is a `Tensor`, or an array that offers the buffer protocol, such as NumPy's; the first axis is the
        batch. `outputs` names those to return, all of them by default.
        """
        names = requests.check_strings(outputs, "outputs")
        request = requests.build(
            tensor.InferRequest, model=model, version=version, inputs=requests.tensors(inputs), output_names=names
        )
        context = self._context(request_id, deadline_seconds, priority)
        return replies.infer_result(await self._call(methods.INFER, request, context), context.request_id)

    async def list_models(self, *, deadline_seconds: float | None = None) -> tuple[Model, ...]:
        """Every version of every model in the repository, whether loaded or not."""
        context = self._context(None, deadline_seconds)
        response = await self._call(methods.LIST_MODELS, model_service.ListModelsRequest(), context)
        return tuple(replies.model_from(item) for item in response.models)

    async def get_model(self, name: str, *, version: int | None = None, deadline_seconds: float | None = None) -> Model:
        """One model: the version served, or the newest if none is, unless one is named."""
        request = requests.build(model_service.GetModelRequest, name=name, version=version)
        response = await self._call(methods.GET_MODEL, request, self._context(None, deadline_seconds))
        return replies.model_from(response.model)

    async def load_model(
        self, name: str, *, version: int | None = None, deadline_seconds: float | None = None
    ) -> Model:
        """Starts workers for a version (the newest, unless named) and returns once they answer in place of the old.

        A large model takes minutes: give a `deadline_seconds` that allows for it.
        """
        request = requests.build(model_service.LoadModelRequest, name=name, version=version)
        response = await self._call(methods.LOAD_MODEL, request, self._context(None, deadline_seconds))
        return replies.model_from(response.model)

    async def unload_model(
        self, name: str, *, version: int | None = None, deadline_seconds: float | None = None
    ) -> None:
        """Ends the workers of a version, or of every loaded one, once they have answered what they have."""
        request = requests.build(model_service.UnloadModelRequest, name=name, version=version)
        await self._call(methods.UNLOAD_MODEL, request, self._context(None, deadline_seconds))

    async def health(self, model: str | None = None, *, deadline_seconds: float | None = None) -> Health:
        """What `grpc.health.v1` says about the server, or about a model. `NotFound` if it has no such model."""
        (service,) = requests.check_texts(model or "", "model")
        return await self._call(CHECK, service, self._context(None, deadline_seconds))

    async def wait_ready(self, model: str | None = None, *, deadline_seconds: float | None = None) -> None:
        """Waits until the server, or a model, is SERVING. Raises `DeadlineExceeded`, which says what it saw last."""
        seconds = self._settings.deadline_seconds if deadline_seconds is None else deadline_seconds
        check_deadline(seconds)
        until, seen = time.monotonic() + seconds, "nothing"
        while (left := until - time.monotonic()) > 0:
            try:
                health = await self.health(model, deadline_seconds=left)
                if health is Health.SERVING:
                    return
                seen = health.name
            except (Unavailable, NotFound, DeadlineExceeded) as error:
                seen = str(error)
            await self._transport.sleep(min(_POLL_SECONDS, max(0.0, until - time.monotonic())))
        what = f"model {model!r}" if model else "the server"
        raise DeadlineExceeded(f"{what} at {self._settings.address} was not ready in {seconds:g} s; last seen: {seen}")

    def _bulk(self, batches: Iterator[language.EmbedRequest], window: int, context: CallContext) -> Bulk:
        self._move(ClientState.OPENED)

        def open_stream(deadline_seconds: float) -> Any:
            self._move(ClientState.OPENED)
            of_stream = CallContext(deadline_seconds, context.request_id, context.metadata)
            return self._transport.stream(methods.EMBED_STREAM, of_stream)

        settings = BulkSettings(window, context.deadline_seconds, self._settings.retry, context.request_id)
        return Bulk(batches, settings, open_stream, self._transport.sleep)


def _batches(
    texts: Iterable[str], size: int, request: Callable[[list[str], str], language.EmbedRequest]
) -> Iterator[language.EmbedRequest]:
    if isinstance(texts, str) or not isinstance(texts, Iterable):
        raise TypeError(f"texts: takes an iterable of str, not {type(texts).__name__}")
    source = iter(texts)
    for number in itertools.count():
        batch = list(itertools.islice(source, size))
        if not batch:
            return
        yield request(batch, f"texts from {number * size}: texts")


def _check_at_least_one(**values: int) -> None:
    for name, value in values.items():
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name}: takes a whole number from 1, not {value!r}")
