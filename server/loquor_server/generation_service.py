"""The inner call of models that write text: prompts in, events out. Both public protocols end here.

It ties what is written, token by token, to text. It knows no worker and no queue.
"""

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from loquor.internal.v1 import replica_service_pb2 as wire
from loquor.v1 import generation_pb2, model_service_pb2
from loquor.v1 import language_service_pb2 as api
from loquor_server import errors
from loquor_server.caller import Caller
from loquor_server.catalog import Catalog
from loquor_server.prompts import prompts_of
from loquor_server.sampling_params import choices_of, sampling_of, seed_of, set_lengths
from loquor_server.served_model import Part, ServedModel
from loquor_server.text_inference import check_count, check_task, tokenizer_of
from loquor_server.writing import Writing
from loquor_server.written_text import Choice, WrittenText

_MOST_SALT_BYTES = 128
# What is the caller's and no input's: it ends the whole call.
_ENDS_ALL = (errors.DeadlineExceeded, errors.SlowReader)

Event = api.GenerateResponse | errors.RequestError


class GenerationService:
    """The behaviours of Generate and GenerateBatch."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def generate(
        self, request: api.GenerateRequest, caller: Caller
    ) -> AsyncGenerator[api.GenerateResponse, None]:
        """Raises `RequestError`, also once events have been given."""
        model = self._find(request)
        run = _Run(model, caller, request.cache_salt, request.sampling)
        async with aclosing(run.events([request.input], ["input"])) as events:
            async for _, event in events:
                if isinstance(event, errors.RequestError):
                    raise event
                yield event

    async def generate_batch(
        self, request: api.GenerateBatchRequest, caller: Caller
    ) -> AsyncGenerator[api.GenerateBatchResponse, None]:
        """Raises `RequestError` for what refuses or ends all; what fails otherwise fails its input alone."""
        model = self._find(request)
        check_count(len(request.inputs), model, "inputs")
        fields = [f"inputs[{index}]" for index in range(len(request.inputs))]
        run = _Run(model, caller, request.cache_salt, request.sampling)
        async with aclosing(run.events(request.inputs, fields)) as events:
            async for index, event in events:
                yield _batched(index, event)

    def _find(self, request: api.GenerateRequest | api.GenerateBatchRequest) -> ServedModel:
        if not request.model:
            raise errors.InvalidArgument("model", "must name a model")
        model = self._catalog.find(request.model, request.version if request.HasField("version") else None)
        check_task(model, model_service_pb2.TASK_GENERATE)
        if len(request.cache_salt.encode()) > _MOST_SALT_BYTES:
            raise errors.InvalidArgument("cache_salt", f"takes {_MOST_SALT_BYTES} bytes at the most")
        return model


def _batched(index: int, event: Event) -> api.GenerateBatchResponse:
    if isinstance(event, errors.RequestError):
        failure = api.StreamError(code=event.code.value[0], message=event.message)
        return api.GenerateBatchResponse(index=index, error=failure)
    return api.GenerateBatchResponse(index=index, event=event)


class _Run:
    """One request, from its inputs to the last event."""

    def __init__(
        self, model: ServedModel, caller: Caller, cache_salt: str, sampling: generation_pb2.SamplingParams
    ) -> None:
        self._model = model
        self._caller = caller
        self._cache_salt = cache_salt.encode()
        self._sampling = sampling
        self._admitted_at = time.monotonic()

    async def events(
        self, inputs: Sequence[generation_pb2.GenerationInput], fields: Sequence[str]
    ) -> AsyncGenerator[tuple[int, Event], None]:
        """Events with the index of their input; an error is the last one of its input. Raises what refuses all."""
        with self._model.in_use():
            choices, parts = await self._asked(inputs, fields)
        with self._model.writing(parts, self._caller) as writing:
            tokenizer = tokenizer_of(self._model).whole
            texts = [
                WrittenText(self._model, sequence, choice, tokenizer)
                for sequence, choice in zip(writing, choices, strict=True)
            ]
            async with aclosing(_delivered(writing, texts)) as events:
                async for event in events:
                    yield event

    async def _asked(
        self, inputs: Sequence[generation_pb2.GenerationInput], fields: Sequence[str]
    ) -> tuple[list[Choice], list[Part]]:
        """Every choice of every input, and what each asks of the model; the cheapest checks come first."""
        model, count = self._model, choices_of(self._sampling)
        model.admission.check_requests(len(inputs) * count)
        sampling = sampling_of(self._sampling, model.hello.vocabulary_size)
        prompts = await prompts_of(model, inputs, fields)
        tokenized_at = time.monotonic()
        choices = []
        for index, prompt in enumerate(prompts):
            seed = seed_of(self._sampling)
            for choice in range(count):
                its_seed = (seed + choice) % 2**64
                choices.append(Choice(index, choice, its_seed, prompt, self._sampling, self._admitted_at, tokenized_at))
        return choices, [self._part(choice, sampling) for choice in choices]

    def _part(self, choice: Choice, sampling: wire.Sampling) -> Part:
        """It costs all that it may become."""
        generation = wire.GenerationInput(
            prompt_ids=choice.prompt,
            sampling=sampling,
            priority=self._caller.priority,
            cache_salt=self._cache_salt,
        )
        prompt_tokens, sequence_tokens = len(choice.prompt), self._model.hello.sequence_tokens
        set_lengths(generation.sampling, self._sampling, prompt_tokens=prompt_tokens, sequence_tokens=sequence_tokens)
        generation.sampling.seed = choice.seed
        return Part(wire.Submission(generation=generation), 1, prompt_tokens + generation.sampling.max_tokens)


async def _delivered(writing: Writing, texts: Sequence[WrittenText]) -> AsyncGenerator[tuple[int, Event], None]:
    """Whatever is new, as soon as there is somebody to take it, until every text is over. Raises what ends all."""
    begun: set[int] = set()
    while not all(text.is_over for text in texts):
        for place in await writing.news():
            text = texts[place]
            index = text.choice.index
            events = [] if text.is_over else text.events()
            if text.has_begun and index not in begun:
                begun.add(index)
                yield index, text.started
            for event in events:
                yield index, event
            if text.is_over:
                text.sequence.close()
            elif (failure := text.sequence.failure) is not None:
                if isinstance(failure, _ENDS_ALL):
                    raise failure
                _close_input(texts, index)
                yield index, failure


def _close_input(texts: Sequence[WrittenText], index: int) -> None:
    """None of the choices of an input that failed is written any further."""
    for text in texts:
        if text.choice.index == index:
            text.is_over = True
            text.sequence.close()
