"""`loquor.v1.LanguageService`: messages of the public protocol to inner calls and back."""

import asyncio
from array import array
from collections.abc import AsyncGenerator, AsyncIterator

import grpc
from tokenizers import Encoding

from loquor.v1 import language_service_pb2 as api
from loquor.v1 import model_service_pb2 as models
from loquor_server import errors, labels, spans
from loquor_server.caller import Caller
from loquor_server.catalog import Catalog
from loquor_server.embed_stream import EmbedStream
from loquor_server.generation_service import GenerationService
from loquor_server.rpc import Rpc
from loquor_server.served_model import ServedModel
from loquor_server.text_inference import TextAnswers, TextOptions, check_count, check_task, run_texts, tokenizer_of
from loquor_server.tokenization import TextInput

NAME = "loquor.v1.LanguageService"

_MOST_CHARACTERS = _MOST_TOKEN_IDS = 1_048_576


class LanguageService:
    """The behaviours of the service, one a method."""

    def __init__(self, catalog: Catalog, generation: GenerationService) -> None:
        self._catalog = catalog
        self._generation = generation

    def handler(self, rpc: Rpc) -> grpc.GenericRpcHandler:
        return grpc.method_handlers_generic_handler(
            NAME,
            {
                "Embed": rpc.unary("Embed", api.EmbedRequest, self.embed),
                "EmbedStream": rpc.streaming("EmbedStream", api.EmbedStreamRequest, self.embed_stream),
                "Classify": rpc.unary("Classify", api.ClassifyRequest, self.classify),
                "TagTokens": rpc.unary("TagTokens", api.TagTokensRequest, self.tag_tokens),
                "Generate": rpc.server_streaming("Generate", api.GenerateRequest, self._generation.generate),
                "GenerateBatch": rpc.server_streaming(
                    "GenerateBatch", api.GenerateBatchRequest, self._generation.generate_batch
                ),
                "Tokenize": rpc.unary("Tokenize", api.TokenizeRequest, self.tokenize),
                "Detokenize": rpc.unary("Detokenize", api.DetokenizeRequest, self.detokenize),
            },
        )

    async def embed(self, request: api.EmbedRequest, caller: Caller) -> api.EmbedResponse:
        model = self._find(request, models.TASK_EMBED)
        normalize = request.normalize if request.HasField("normalize") else None
        ran = await run_texts(model, request.texts, caller, TextOptions(request.truncate, normalize))
        response = api.EmbedResponse(model=model.name, version=model.version, usage=ran.usage, timings=ran.timings)
        for answer, encoding in zip(ran.answers, ran.encodings, strict=True):
            embedding = response.embeddings.add(tokens=len(encoding.ids), truncated=bool(encoding.overflowing))
            embedding.values.extend(labels.floats_of(answer.tensors[0].data))
        return response

    async def embed_stream(
        self, requests: AsyncIterator[api.EmbedStreamRequest], caller: Caller
    ) -> AsyncGenerator[api.EmbedStreamResponse, None]:
        stream = EmbedStream(self, requests, caller)
        try:
            async for response in stream.responses():
                yield response
        finally:
            stream.cancel()

    async def classify(self, request: api.ClassifyRequest, caller: Caller) -> api.ClassifyResponse:
        model = self._find(request, models.TASK_CLASSIFY)
        top_k = request.top_k if request.HasField("top_k") else None
        if top_k == 0:
            raise errors.InvalidArgument("top_k", "must be at least 1")
        texts = [_classify_input(entry) for entry in request.inputs]
        ran = await run_texts(model, texts, caller, TextOptions(request.truncate, field="inputs"))
        hello = model.hello
        response = api.ClassifyResponse(model=model.name, version=model.version, usage=ran.usage, timings=ran.timings)
        for answer, encoding in zip(ran.answers, ran.encodings, strict=True):
            scores = list(labels.floats_of(answer.tensors[0].data))
            if not request.raw_scores:
                scores = labels.scores_of(scores, hello.label_scoring)
            best = labels.best_labels(scores, hello.labels, top_k)
            response.classifications.add(
                labels=[api.LabelScore(label=label, score=score) for label, score in best],
                tokens=len(encoding.ids),
                truncated=bool(encoding.overflowing),
            )
        return response

    async def tag_tokens(self, request: api.TagTokensRequest, caller: Caller) -> api.TagTokensResponse:
        model = self._find(request, models.TASK_TAG_TOKENS)
        if not 0 <= request.min_score <= 1:
            raise errors.InvalidArgument("min_score", "must be from 0 to 1")
        texts = list(request.texts)
        ran = await run_texts(model, texts, caller, TextOptions(request.truncate, offsets=True))
        response = api.TagTokensResponse(model=model.name, version=model.version, usage=ran.usage, timings=ran.timings)
        for index, text in enumerate(texts):
            tagged = response.tagged_texts.add(
                tokens=len(ran.encodings[index].ids), truncated=bool(ran.encodings[index].overflowing)
            )
            for span in spans_at(model, ran, index, text):
                if span.score >= request.min_score:
                    tagged.spans.add(
                        label=span.label,
                        score=span.score,
                        start=span.start,
                        end=span.end,
                        text=text[span.start : span.end],
                    )
        return response

    async def tokenize(self, request: api.TokenizeRequest, _caller: Caller) -> api.TokenizeResponse:
        model = self._find(request)
        check_count(len(request.texts), model, "texts")
        if sum(map(len, request.texts)) > _MOST_CHARACTERS:
            raise errors.InvalidArgument("texts", f"hold more than {_MOST_CHARACTERS} characters together")
        special = request.add_special_tokens if request.HasField("add_special_tokens") else True
        encodings = await tokenizer_of(model).encode(list(request.texts), offsets=True, special=special)
        # A million tokens are spelled in most of a second, which is not the event loop's.
        tokenizations = await asyncio.to_thread(lambda: [_tokenization(encoding) for encoding in encodings])
        return api.TokenizeResponse(model=model.name, version=model.version, tokenizations=tokenizations)

    async def detokenize(self, request: api.DetokenizeRequest, _caller: Caller) -> api.DetokenizeResponse:
        model = self._find(request)
        tokenizer = tokenizer_of(model)
        check_count(len(request.sequences), model, "sequences")
        if sum(len(sequence.ids) for sequence in request.sequences) > _MOST_TOKEN_IDS:
            raise errors.InvalidArgument("sequences", f"hold more than {_MOST_TOKEN_IDS} ids together")
        for index, sequence in enumerate(request.sequences):
            if sequence.ids and max(sequence.ids) >= tokenizer.vocabulary_size:
                reason = f"holds an id beyond the vocabulary of {tokenizer.vocabulary_size}"
                raise errors.InvalidArgument(f"sequences[{index}].ids", reason)
        skip = request.skip_special_tokens if request.HasField("skip_special_tokens") else True
        texts = await tokenizer.decode([list(sequence.ids) for sequence in request.sequences], skip_special=skip)
        return api.DetokenizeResponse(model=model.name, version=model.version, texts=texts)

    def _find(self, request: "_NamesModel", task: models.Task | None = None) -> ServedModel:
        return find_model(self._catalog, request, task)


_NamesModel = (
    api.EmbedRequest | api.ClassifyRequest | api.TagTokensRequest | api.TokenizeRequest | api.DetokenizeRequest
)


def find_model(catalog: Catalog, request: "_NamesModel", task: models.Task | None) -> ServedModel:
    """The loaded model that a request of `loquor.v1` names. Raises `RequestError`."""
    if not request.model:
        raise errors.InvalidArgument("model", "must name a model")
    version = request.version if request.HasField("version") else None
    model = catalog.find(request.model, version)
    if task is not None:
        check_task(model, task)
    return model


def spans_at(model: ServedModel, ran: TextAnswers, index: int, text: str) -> list[spans.Span]:
    """The spans of one text of a tagging request."""
    label_ids, scores = ran.answers[index].tensors
    return spans.spans_of(
        ran.encodings[index], array("i", label_ids.data), array("f", scores.data), model.hello.labels, text
    )


def _tokenization(encoding: Encoding) -> api.Tokenization:
    tokenization = api.Tokenization()
    for id, token, (start, end) in zip(encoding.ids, encoding.tokens, encoding.offsets, strict=True):
        tokenization.tokens.add(id=id, text=token, start=start, end=end)
    return tokenization


def _classify_input(entry: api.ClassifyInput) -> TextInput:
    return (entry.text, entry.text_pair) if entry.HasField("text_pair") else entry.text
