"""Streams of text through a real server and real workers whose engine writes by a rule: what is lost, cut or cancelled.

Prompts are token ids, and log-probabilities tell which ids came back, so every token is held against the rule.
"""

import asyncio
import contextlib
import os
import random
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from loquor.v1 import generation_pb2 as generation
from loquor.v1 import language_service_pb2 as api
from tests.conftest import RunningServer
from tests.end_to_end.load import embedding_stub
from tests.end_to_end.test_chaos import until, whole_again
from tests.end_to_end.writing_worker import LIMITS, next_token

PROGRAM = "tests.end_to_end.writing_serve"
CANARY = "canarywords"

Serve = Callable[..., RunningServer]


def flags(repository: Path, *more: str) -> list[str]:
    addresses = ["--address", "127.0.0.1:0", "--metrics-address", "127.0.0.1:0"]
    return [*addresses, "--repository", str(repository), "--models", "fake:1", *more]


@pytest.fixture(scope="module")
def pair(fake_repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Two workers, which must be idle and whole after each test."""
    log = tmp_path_factory.mktemp("writers") / "log"
    server = RunningServer(
        flags(fake_repository, "--replicas", "2", "--silence-seconds", "1", "--log-level", "debug"),
        log,
        program=PROGRAM,
    )
    yield server
    assert server.stop() == 0
    assert CANARY not in log.read_text()


@pytest.fixture
def serve(fake_repository: Path, tmp_path: Path) -> Iterator[Serve]:
    running: list[RunningServer] = []

    def start(*more: str) -> RunningServer:
        log = tmp_path / f"log-{len(running)}"
        running.append(RunningServer(flags(fake_repository, *more), log, program=PROGRAM))
        return running[-1]

    yield start
    for server in running:
        server.stop()


def request(prompt: list[int], **sampling: Any) -> api.GenerateRequest:
    return api.GenerateRequest(
        model="fake",
        input=generation.GenerationInput(prompt_tokens=generation.PromptTokens(ids=prompt)),
        sampling=generation.SamplingParams(**{"logprobs": 0, "max_tokens": 40} | sampling),
    )


def written(prompt: list[int], count: int) -> list[int]:
    tokens = list(prompt)
    for _ in range(count):
        tokens.append(next_token(tokens))
    return tokens[len(prompt) :]


class Told:
    """What came of one stream: ids and text of each choice, the events in between, and how it ended."""

    def __init__(self) -> None:
        self.ids: dict[int, list[int]] = {}
        self.text: dict[int, str] = {}
        self.finished: dict[int, generation.GenerationFinished] = {}
        self.started = 0
        self.code = "OK"

    def take(self, event: api.GenerateResponse) -> None:
        kind = event.WhichOneof("event")
        if kind == "started":
            assert not self.ids
            self.started += 1
        elif kind == "delta":
            assert self.started == 1
            choice = event.delta.choice
            assert choice not in self.finished
            self.ids.setdefault(choice, []).extend(token.id for token in event.delta.tokens)
            self.text[choice] = self.text.get(choice, "") + event.delta.text
        else:
            assert self.finished.setdefault(event.finished.choice, event.finished) is event.finished


async def read(call: Any) -> Told:
    told = Told()
    try:
        async for event in call:
            told.take(event)
    except grpc.aio.AioRpcError as error:
        told.code = error.code().name
    except asyncio.CancelledError:
        told.code = "CANCELLED"
    return told


async def idle(server: RunningServer) -> None:
    """Every place and every block is free again."""
    loads = ("running_sequences", "waiting_sequences", "kv_blocks_used", "running_requests", "queue_requests")
    await until(lambda: all(server.metric(f"loquor_{load}", model="fake") == 0 for load in loads))
    assert server.metric("loquor_queue_tokens") == 0


async def test_streams_of_many_never_mix_whoever_cancels(pair: RunningServer) -> None:
    dice = random.Random(7)
    prompts = [[dice.randrange(2000, 3000) for _ in range(dice.randint(1, 60))] for _ in range(120)]
    async with grpc.aio.insecure_channel(pair.address) as channel:
        stub = embedding_stub(channel)
        calls = [stub.Generate(request(prompt, max_tokens=20 + len(prompt)), timeout=60) for prompt in prompts]
        reading = [asyncio.ensure_future(read(call)) for call in calls]
        for place in dice.sample(range(120), 40):
            await asyncio.sleep(dice.uniform(0, 0.02))
            calls[place].cancel()
        ends = await asyncio.gather(*reading)
    codes = Counter(told.code for told in ends)
    assert codes["OK"] >= 80
    assert set(codes) <= {"OK", "CANCELLED"}
    for prompt, told in zip(prompts, ends, strict=True):
        wanted = written(prompt, 20 + len(prompt))
        found = told.ids.get(0, [])
        assert found == (wanted if told.code == "OK" else wanted[: len(found)])
    await idle(pair)


async def test_a_killed_worker_loses_only_what_had_begun(pair: RunningServer) -> None:
    dice = random.Random(8)
    for _ in range(4):
        prompts = [[dice.randrange(2000, 3000) for _ in range(5)] for _ in range(60)]
        async with grpc.aio.insecure_channel(pair.address) as channel:
            stub = embedding_stub(channel)
            reading = [
                asyncio.ensure_future(read(stub.Generate(request(prompt, max_tokens=100), timeout=60)))
                for prompt in prompts
            ]
            await asyncio.sleep(dice.uniform(0.05, 0.3))
            victim = dice.choice(pair.workers())
            os.kill(victim, signal.SIGKILL)
            ends = await asyncio.gather(*reading)
        for prompt, told in zip(prompts, ends, strict=True):
            found = told.ids.get(0, [])
            if told.code == "OK":
                assert found == written(prompt, 100)
            else:
                assert (told.code, bool(found)) == ("UNAVAILABLE", True)
                assert found == written(prompt, 100)[: len(found)]
        await whole_again(pair, {victim})
        await idle(pair)


async def test_a_deadline_ends_a_stream_and_frees_its_place(pair: RunningServer) -> None:
    async with grpc.aio.insecure_channel(pair.address) as channel:
        told = await read(embedding_stub(channel).Generate(request([2000], max_tokens=250), timeout=0.25))
    assert told.code == "DEADLINE_EXCEEDED"
    assert 0 < len(told.ids[0]) < 250
    await idle(pair)


async def test_a_caller_that_goes_frees_its_place(pair: RunningServer) -> None:
    async with grpc.aio.insecure_channel(pair.address) as channel:
        calls = [embedding_stub(channel).Generate(request([2000 + n], max_tokens=250)) for n in range(40)]
        await asyncio.gather(*(call.read() for call in calls))
    await idle(pair)


async def test_a_stop_string_ends_a_text_before_it(pair: RunningServer) -> None:
    async with grpc.aio.insecure_channel(pair.address) as channel:
        stub = embedding_stub(channel)
        whole = await read(stub.Generate(request([2101, 2345]), timeout=30))
        words = whole.text[0].split(" ")
        stop = next(word for word in words[3:] if len(word) > 3)
        told = await read(stub.Generate(request([2101, 2345], stop=["never", stop]), timeout=30))
    assert told.text[0] == whole.text[0][: whole.text[0].index(stop)]
    assert (told.finished[0].reason, told.finished[0].stop) == (generation.FINISH_REASON_STOP, stop)
    await idle(pair)


async def test_choices_are_told_apart_and_cost_is_told(pair: RunningServer) -> None:
    prompt = list(range(2000, 2050))
    async with grpc.aio.insecure_channel(pair.address) as channel:
        told = await read(embedding_stub(channel).Generate(request(prompt, n=4, max_tokens=9), timeout=30))
    assert told.ids == dict.fromkeys(range(4), written(prompt, 9))
    for finished in told.finished.values():
        assert finished.reason == generation.FINISH_REASON_LENGTH
        assert (finished.usage.prompt_tokens, finished.usage.completion_tokens) == (50, 9)
        timings = finished.timings
        assert 0 < timings.time_to_first_token_seconds <= timings.total_seconds
        assert 0 <= timings.queue_seconds <= timings.time_to_first_token_seconds
    await idle(pair)


async def test_a_batch_tells_whose_each_event_is(pair: RunningServer) -> None:
    prompts = [[2000 + n] * (1 + n % 7) for n in range(50)]
    batch = api.GenerateBatchRequest(
        model="fake",
        inputs=[request(prompt).input for prompt in prompts],
        sampling=request([1], max_tokens=12).sampling,
    )
    ends = [Told() for _ in prompts]
    async with grpc.aio.insecure_channel(pair.address) as channel:
        async for response in embedding_stub(channel).GenerateBatch(batch, timeout=60):
            ends[response.index].take(response.event)
    assert [told.ids[0] for told in ends] == [written(prompt, 12) for prompt in prompts]
    assert all(told.finished for told in ends)
    await idle(pair)


async def test_a_conversation_and_a_prompt_that_nobody_logs(pair: RunningServer) -> None:
    async with grpc.aio.insecure_channel(pair.address) as channel:
        stub = embedding_stub(channel)
        prompt = api.GenerateRequest(
            model="fake",
            input=generation.GenerationInput(prompt=f"{CANARY} {CANARY}"),
            sampling=generation.SamplingParams(max_tokens=3, stop=[CANARY], regex=CANARY, temperature=0),
            cache_salt=CANARY,
        )
        told = await read(stub.Generate(prompt, timeout=30))
        chat = generation.Chat(messages=[generation.ChatMessage(role=CANARY, content=CANARY)])
        prompt.input.chat.CopyFrom(chat)
        refused = stub.Generate(prompt, timeout=30)
        assert (await read(refused)).code == "INVALID_ARGUMENT"
        assert "chat template" in await refused.details()
    assert told.code == "OK"
    assert told.finished[0].usage.completion_tokens == 3


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"input": None}, "input"),
        ({"input": generation.GenerationInput(prompt_tokens=generation.PromptTokens())}, "input.prompt_tokens.ids"),
        ({"input": generation.GenerationInput(prompt_tokens={"ids": [2**31]})}, "input.prompt_tokens.ids"),
        ({"input": generation.GenerationInput(prompt_tokens={"ids": [1] * 256})}, "input.prompt_tokens.ids"),
        ({"input": generation.GenerationInput(prompt="word " * 500)}, "input.prompt"),
        ({"input": generation.GenerationInput(prompt="x" * 1_048_577)}, "input.prompt"),
        ({"sampling": generation.SamplingParams(temperature=-1)}, "sampling.temperature"),
        ({"sampling": generation.SamplingParams(max_tokens=256)}, "sampling.max_tokens"),
        ({"sampling": generation.SamplingParams(stop=["x"] * 500_000)}, "sampling.stop"),
        ({"sampling": generation.SamplingParams(n=0)}, "sampling.n"),
        ({"cache_salt": "s" * 129}, "cache_salt"),
        ({"model": ""}, "model"),
    ],
)
async def test_what_is_wrong_is_named(pair: RunningServer, changed: dict[str, Any], field: str) -> None:
    fields: dict[str, Any] = {
        "model": "fake",
        "input": request([2000]).input,
        "sampling": None,
        "cache_salt": "",
    } | changed
    async with grpc.aio.insecure_channel(pair.address) as channel:
        call = embedding_stub(channel).Generate(api.GenerateRequest(**fields), timeout=30)
        assert (await read(call)).code == "INVALID_ARGUMENT"
        assert (await call.details()).startswith(f"{field}: ")


async def test_who_does_not_read_is_cut_off_and_nobody_else_is(serve: Serve, tmp_path: Path) -> None:
    config = tmp_path / "loquor.toml"
    config.write_text("[models.fake]\nmax_unread_tokens = 8\n")
    server = serve("--config", str(config))
    narrow = [("grpc.http2.lookahead_bytes", 1024), ("grpc.http2.bdp_probe", 0)]
    async with (
        grpc.aio.insecure_channel(server.address, options=narrow) as sleeping,
        grpc.aio.insecure_channel(server.address) as awake,
    ):
        heavy = request([2500], max_tokens=250, logprobs=20)
        calls = [embedding_stub(sleeping).Generate(heavy, timeout=60) for _ in range(4)]
        await asyncio.gather(*(call.read() for call in calls))
        await idle(server)  # though nothing has been read
        told = await read(embedding_stub(awake).Generate(request([2500], max_tokens=100), timeout=30))
        assert told.ids[0] == written([2500], 100)
        for call in calls:
            assert await left_in(call) < 250
            assert (await call.code()).name == "RESOURCE_EXHAUSTED"
    await idle(server)


async def left_in(call: Any) -> int:
    """Tokens that come of a stream until it ends."""
    tokens = 0
    with contextlib.suppress(grpc.aio.AioRpcError):
        while isinstance(event := await call.read(), api.GenerateResponse):
            tokens += len(event.delta.tokens)
    return tokens


async def test_a_drain_lets_streams_finish(serve: Serve) -> None:
    server = serve("--drain-delay-seconds", "0.1")
    async with grpc.aio.insecure_channel(server.address) as channel:
        stub = embedding_stub(channel)
        calls = [stub.Generate(request([2000 + n], max_tokens=200), timeout=60) for n in range(8)]
        reading = [asyncio.ensure_future(read(call)) for call in calls]
        await until(lambda: server.metric("loquor_running_sequences", model="fake") == 8)
        server.process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.3)
        late = await read(stub.Generate(request([2000]), timeout=30))
        ends = await asyncio.gather(*reading)
    assert late.code == "UNAVAILABLE"
    assert [told.ids[0] for told in ends] == [written([2000 + n], 200) for n in range(8)]
    assert await asyncio.to_thread(server.process.wait, 30) == 0


def test_the_rule_leaves_room() -> None:
    """What these tests ask for fits into the context that the worker says it has."""
    assert LIMITS.sequence_tokens >= 256
