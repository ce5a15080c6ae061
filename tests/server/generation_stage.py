"""A model that generates, with workers played by hand, for the tests of the inner call of generating.

What is written follows from the prompt by a rule, so every token shows whose it is.
"""

import asyncio
import functools
import tempfile
from contextlib import aclosing
from pathlib import Path
from typing import Any, cast

from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from loquor.internal.protocol import PROTOCOL_VERSION
from loquor.internal.v1 import replica_service_pb2 as wire
from loquor.v1 import generation_pb2 as generation
from loquor.v1 import language_service_pb2 as api
from loquor.v1.model_service_pb2 import TASK_GENERATE
from loquor_server import errors
from loquor_server.caller import Caller
from loquor_server.catalog import Catalog
from loquor_server.generation_service import GenerationService
from loquor_server.replica import Replica, ReplicaState
from loquor_server.repository import ModelFolder, ModelSettings
from loquor_server.served_model import ModelState, ServedModel
from loquor_server.tokenization import TextTokenizer, TokenizerPool

LETTERS = sorted(pre_tokenizers.ByteLevel.alphabet())
CONTEXT, MOST_UNREAD = 64, 6
MOST_REQUESTS, MOST_TOKENS = 20, 400
ENDINGS = (
    errors.Overloaded,
    errors.Poisoned,
    errors.DeadlineExceeded,
    errors.EngineFailed,
    errors.SlowReader,
    errors.Unavailable,
)


def next_token(tokens: list[int]) -> int:
    return sum(place * id for place, id in enumerate(tokens, 1)) % len(LETTERS)


def written(prompt: list[int], count: int) -> list[int]:
    tokens = list(prompt)
    for _ in range(count):
        tokens.append(next_token(tokens))
    return tokens[len(prompt) :]


@functools.cache
def tokenizer() -> TextTokenizer:
    """Of bytes alone, each a token."""
    bytewise = Tokenizer(models.BPE(vocab={letter: id for id, letter in enumerate(LETTERS)}, merges=[]))
    bytewise.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytewise.decoder = decoders.ByteLevel()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "tokenizer.json"
        bytewise.save(str(file))
        return TextTokenizer(TokenizerPool(1), file)


class Observer:
    """Adds up what it is told."""

    def __init__(self) -> None:
        self.tokens = 0
        self.first = 0
        self.finished: list[generation.GenerationFinished] = []

    def stepped(self, *_: object) -> None: ...

    def answered(self, *_: object) -> None: ...

    def moved(self, *_: object) -> None: ...

    def tokens_came(self, _: ServedModel, count: int, seconds: float, *, first: bool) -> None:
        assert seconds >= 0
        self.tokens += count
        self.first += first

    def generated(self, _: ServedModel, finished: generation.GenerationFinished) -> None:
        self.finished.append(finished)


class Far:
    """The far end of a replica's stream, played by hand: every sequence it was sent, with what it has written."""

    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        self.held: dict[int, tuple[wire.Submission, list[int]]] = {}
        self.gone: list[int] = []
        self.cancels: list[int] = []
        self.greet()

    def greet(self) -> None:
        if self.replica.state is ReplicaState.LOST:
            self.replica.move(ReplicaState.STARTING)
        hello = wire.WorkerHello(
            protocol_version=PROTOCOL_VERSION,
            task=TASK_GENERATE,
            sequence_tokens=CONTEXT,
            vocabulary_size=len(LETTERS),
        )
        self.replica._room = wire.Room(submissions=6, tokens=200)
        self.replica._take(wire.ServeResponse(hello=hello))

    def receive(self) -> None:
        """As the writer does: what was assigned, then what was cancelled."""
        messages = self.replica._outbox.take()
        for submission in (one for message in messages for one in message.submissions.submissions):
            self.held[submission.id] = (submission, [])
        cancelled = list(dict.fromkeys(id for message in messages for id in message.cancels.ids))
        self.cancels += cancelled
        self.fail([id for id in cancelled if id in self.held], wire.FAILURE_KIND_CANCELLED)

    def fail(self, ids: list[int], kind: wire.FailureKind) -> None:
        for id in ids:
            self.gone.append(id)
            del self.held[id]
        self.say([wire.Result(id=id, failure=wire.Failure(kind=kind, message="no")) for id in ids])

    def step(self, ids: list[int], count: int = 1) -> None:
        """Write some tokens of each."""
        self.say([self._written(id, count) for id in ids])

    def step_all(self) -> None:
        self.step(list(self.held))

    def _written(self, id: int, count: int) -> wire.Result:
        submission, tokens = self.held[id]
        prompt, most = list(submission.generation.prompt_ids), submission.generation.sampling.max_tokens
        new = written(prompt, most)[len(tokens) : len(tokens) + count]
        tokens += new
        result = wire.Result(id=id, wait_seconds=0.25, tokens=wire.Tokens(ids=new))
        result.tokens.logprobs.extend(wire.TokenLogprob(logprob=-1.0) for _ in new)
        if len(tokens) == most:
            result.tokens.finish = generation.FINISH_REASON_LENGTH
            self.gone.append(id)
            del self.held[id]
        return result

    def say(self, results: list[wire.Result]) -> None:
        step = wire.StepResults(step=1, batch_size=len(results), batch_tokens=len(results), results=results)
        self.replica._take(wire.ServeResponse(results=step))

    def die(self) -> None:
        self.held.clear()
        self.replica.move(ReplicaState.LOST)
        self.replica._lose_running(None)


class Stage:
    """A model with two workers, its inner call, and what was told of it."""

    def __init__(self, replicas: int = 2, **more: Any) -> None:
        self.observer = Observer()
        limits = {"max_queue_requests": MOST_REQUESTS, "max_queue_tokens": MOST_TOKENS}
        model_settings = ModelSettings(replicas=replicas, **(limits | {"max_unread_tokens": MOST_UNREAD} | more))
        folder = ModelFolder("model", 3, Path("model"))
        self.model = ServedModel(folder, model_settings, tokenizer(), self.observer, 10.0)
        self.fars = [Far(replica) for replica in self.model.replicas]
        self.model.move(ModelState.READY)
        self.service = GenerationService(cast(Catalog, self))

    def find(self, _name: str, _version: int | None) -> ServedModel:
        """As the catalog does."""
        return self.model

    async def settle(self) -> None:
        for _ in range(24):
            await asyncio.sleep(0)

    async def work(self) -> None:
        """Every worker does one step of all that it has."""
        await self.settle()
        for far in self.fars:
            far.receive()
            far.step_all()
        await self.settle()


def ids_of(*prompt: int) -> generation.GenerationInput:
    return generation.GenerationInput(prompt_tokens=generation.PromptTokens(ids=prompt))


def one(*prompt: int, **sampling: Any) -> api.GenerateRequest:
    return api.GenerateRequest(
        model="model", input=ids_of(*prompt), sampling=generation.SamplingParams(logprobs=0, **sampling)
    )


def many(prompts: list[list[int]], **sampling: Any) -> api.GenerateBatchRequest:
    return api.GenerateBatchRequest(
        model="model",
        inputs=[ids_of(*prompt) for prompt in prompts],
        sampling=generation.SamplingParams(logprobs=0, **sampling),
    )


class Told:
    """What came of one input, held against the grammar of events as it comes."""

    def __init__(self) -> None:
        self.ids: dict[int, list[int]] = {}
        self.started: generation.GenerationStarted | None = None
        self.finished: dict[int, generation.GenerationFinished] = {}
        self.error: api.StreamError | None = None

    def take(self, event: api.GenerateResponse) -> None:
        assert self.error is None
        kind = event.WhichOneof("event")
        if kind == "started":
            assert self.started is None
            self.started = event.started
            return
        assert self.started is not None
        if kind == "delta":
            assert event.delta.choice not in self.finished
            assert event.delta.text or event.delta.tokens
            self.ids.setdefault(event.delta.choice, []).extend(token.id for token in event.delta.tokens)
        else:
            assert self.finished.setdefault(event.finished.choice, event.finished) is event.finished


class Reading:
    """One batch and who reads it: at once, or only when the gate is open."""

    def __init__(self, stage: Stage, prompts: list[list[int]], choices: int, most: int, caller: Caller) -> None:
        self.prompts, self.choices, self.most = prompts, choices, most
        self.told = [Told() for _ in prompts]
        self.gate = asyncio.Event()
        self.task = asyncio.ensure_future(self._read(stage, caller))

    async def _read(self, stage: Stage, caller: Caller) -> None:
        request = many(self.prompts, n=self.choices, max_tokens=self.most)
        async with aclosing(stage.service.generate_batch(request, caller)) as responses:
            async for response in responses:
                told = self.told[response.index]
                if response.HasField("error"):
                    assert told.error is None
                    told.error = response.error
                else:
                    told.take(response.event)
                await self.gate.wait()

    def check(self) -> None:
        """Its ending is one that may be, and what came is a part of what was to come."""
        assert self.task.done()
        error = None if self.task.cancelled() else self.task.exception()
        assert error is None or isinstance(error, ENDINGS)
        for prompt, told in zip(self.prompts, self.told, strict=True):
            wanted = written(prompt, self.most)
            for ids in told.ids.values():
                assert ids == wanted[: len(ids)]
            if error is None and not self.task.cancelled() and told.error is None:
                assert told.ids == dict.fromkeys(range(self.choices), wanted)
                assert told.finished.keys() == told.ids.keys()
