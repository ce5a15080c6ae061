"""The inner call of generating, from the request to its last event, with workers played by hand."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable
from contextlib import aclosing
from typing import Any

import pytest

from loquor.internal.v1 import replica_service_pb2 as wire
from loquor.v1 import generation_pb2 as generation
from loquor.v1 import language_service_pb2 as api
from loquor_server import errors
from loquor_server.caller import Caller
from tests.server.generation_stage import CONTEXT, MOST_UNREAD, Reading, Stage, many, one, tokenizer, written

CALLER = Caller("test")


async def events_of(responses: AsyncGenerator[Any, None]) -> list[Any]:
    async with aclosing(responses):
        return [response async for response in responses]


async def finishing(stage: Stage, asked: Awaitable[Any]) -> Any:
    """What is asked for, from workers that do their work."""
    task = asyncio.ensure_future(asked)
    async with asyncio.timeout(5):
        while not task.done():
            await stage.work()
    return await task


async def test_one_text_from_start_to_finish() -> None:
    stage = Stage()
    request = one(7, 8, 9, max_tokens=3, seed=2**64 - 1, n=2)
    events = await finishing(stage, events_of(stage.service.generate(request, CALLER)))
    started, deltas = events[0].started, [event.delta for event in events if event.HasField("delta")]
    assert (started.model, started.version, started.seed, started.prompt_tokens) == ("model", 3, 2**64 - 1, 3)
    for choice in range(2):
        assert [token.id for delta in deltas if delta.choice == choice for token in delta.tokens] == written(
            [7, 8, 9], 3
        )
    for finished in (event.finished for event in events if event.HasField("finished")):
        usage, timings = finished.usage, finished.timings
        assert (finished.reason, finished.HasField("stop")) == (generation.FINISH_REASON_LENGTH, False)
        assert (usage.prompt_tokens, usage.completion_tokens) == (3, 3)
        assert 0 <= timings.tokenization_seconds <= timings.time_to_first_token_seconds <= timings.total_seconds
        assert timings.queue_seconds >= 0.25
    assert (stage.observer.tokens, stage.observer.first, len(stage.observer.finished)) == (6, 2, 2)


async def test_each_choice_has_a_seed_of_its_own_and_a_cost() -> None:
    stage = Stage(replicas=1)
    reading = asyncio.ensure_future(
        events_of(stage.service.generate_batch(many([[1], [2, 3]], n=2, seed=5, max_tokens=4), CALLER))
    )
    await stage.settle()
    assert (stage.model.admission.requests, stage.model.admission.tokens) == (4, 2 * (1 + 4) + 2 * (2 + 4))
    (far,) = stage.fars
    far.receive()
    seeds = [(list(sent.generation.prompt_ids), sent.generation.sampling.seed) for sent, _ in far.held.values()]
    assert seeds == [([1], 5), ([1], 6), ([2, 3], 5), ([2, 3], 6)]
    await finishing(stage, reading)
    assert (stage.model.admission.requests, stage.model.admission.tokens) == (0, 0)


async def test_a_delta_carries_all_that_waits() -> None:
    stage = Stage(replicas=1, max_unread_tokens=100)
    events = stage.service.generate(one(7, max_tokens=20), CALLER)
    first = asyncio.ensure_future(anext(events))
    await stage.settle()
    (far,) = stage.fars
    far.receive()
    far.step_all()
    assert (await first).HasField("started")
    assert len((await anext(events)).delta.tokens) == 1
    for _ in range(10):
        far.step_all()
    assert len((await anext(events)).delta.tokens) == 10
    await events.aclose()
    far.receive()
    assert far.held == {}


async def test_a_text_that_has_begun_is_lost_with_its_worker_and_others_are_not() -> None:
    stage = Stage(replicas=1)
    (far,) = stage.fars
    begun = asyncio.ensure_future(events_of(stage.service.generate(one(1, max_tokens=5), CALLER)))
    await stage.settle()
    far.receive()
    far.step_all()
    waiting = asyncio.ensure_future(events_of(stage.service.generate(one(2, max_tokens=5), CALLER)))
    await stage.settle()
    far.receive()
    far.die()
    with pytest.raises(errors.Unavailable, match="begun"):
        await begun
    far.greet()
    events = await finishing(stage, waiting)
    assert [token.id for event in events for token in event.delta.tokens] == written([2], 5)


async def test_those_run_again_are_alone_for_their_prompts_and_not_for_their_texts() -> None:
    stage = Stage(replicas=1)
    (far,) = stage.fars
    asked = [asyncio.ensure_future(events_of(stage.service.generate(one(n, max_tokens=9), CALLER))) for n in range(3)]
    await stage.settle()
    far.receive()
    far.die()
    far.greet()
    for running in (1, 2, 3):
        await stage.settle()
        far.receive()
        assert len(far.held) == running
        assert [submission.alone for submission, _ in far.held.values()] == [True] * running
        far.step_all()
    for place, events in enumerate([await finishing(stage, reading) for reading in asked]):
        assert [token.id for event in events for token in event.delta.tokens] == written([place], 9)


async def test_one_input_that_fails_leaves_the_others_alone() -> None:
    stage = Stage(replicas=1)
    (far,) = stage.fars
    reading = Reading(stage, [[1], [2]], 2, 4, CALLER)
    reading.gate.set()
    await stage.settle()
    far.receive()
    far.step_all()
    far.fail([list(far.held)[1]], wire.FAILURE_KIND_ENGINE)
    await stage.settle()
    await finishing(stage, reading.task)
    reading.check()
    failed, fine = reading.told
    assert failed.error is not None
    assert failed.error.code == 13
    assert (fine.error, len(fine.finished)) == (None, 2)
    assert far.cancels == [1]


async def test_a_deadline_ends_a_batch_and_not_input_by_input() -> None:
    stage = Stage(replicas=1)
    reading = Reading(stage, [[1], [2]], 1, 50, Caller("test", time.monotonic() + 0.05))
    reading.gate.set()
    await stage.settle()
    (far,) = stage.fars
    far.receive()
    far.step(list(far.held)[:1])
    with pytest.raises(errors.DeadlineExceeded):
        await reading.task
    far.receive()
    assert (far.held, len(far.cancels)) == ({}, 2)
    assert [told.error for told in reading.told] == [None, None]


async def test_who_does_not_read_holds_no_permit_and_no_drain() -> None:
    stage = Stage(replicas=1)
    (far,) = stage.fars
    cut, finished = Reading(stage, [[1]], 1, 20, CALLER), Reading(stage, [[2]], 1, 4, CALLER)
    for _ in range(MOST_UNREAD + 3):
        await stage.work()
    assert (stage.model.admission.requests, far.held) == (0, {})
    async with asyncio.timeout(1):
        await stage.model.drain()
    assert not cut.task.done()
    assert not finished.task.done()
    for reading in (cut, finished):
        reading.gate.set()
    with pytest.raises(errors.SlowReader):
        await cut.task
    await finished.task
    assert finished.told[0].ids == {0: written([2], 4)}


async def test_a_stop_string_ends_the_sequence_in_its_worker() -> None:
    stage = Stage(replicas=1)
    (far,) = stage.fars
    ids = written([7], 20)
    text = tokenizer().whole.decode(ids)
    stop = text[3:5]
    reading = asyncio.ensure_future(
        events_of(stage.service.generate(one(7, max_tokens=20, stop=["never", stop]), CALLER))
    )
    events = await finishing(stage, reading)
    assert "".join(event.delta.text for event in events) == text[: text.index(stop)]
    last = events[-1].finished
    assert (last.reason, last.stop) == (generation.FINISH_REASON_STOP, stop)
    far.receive()
    assert (far.held, far.cancels) == ({}, [1])


async def test_what_leaves_the_queue_never_reaches_a_worker() -> None:
    stage = Stage(replicas=1)
    (far,) = stage.fars
    running = [
        asyncio.ensure_future(events_of(stage.service.generate(one(n, max_tokens=30), CALLER))) for n in range(7)
    ]
    await stage.settle()
    far.receive()
    assert len(far.held) == 6
    running[6].cancel()
    await stage.settle()
    assert stage.model.admission.requests == 6
    for task in running[:6]:
        task.cancel()
    await stage.work()
    await stage.work()
    assert far.held == {}
    assert 7 not in far.gone
    assert stage.model.admission.requests == 0


async def test_a_batch_is_checked_once_and_counted_before_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[str] = []
    monkeypatch.setattr("loquor.internal.structure_limits.check_regex", checked.append)
    stage = Stage()
    batch = many([[n] for n in range(9)], max_tokens=2, n=2, regex="a+")
    await finishing(stage, events_of(stage.service.generate_batch(batch, CALLER)))
    assert checked == ["a+"]
    large = many([[1]] * 1024, n=16, regex="a" * 4000)
    started = time.process_time()
    with pytest.raises(errors.InvalidArgument, match="16384 texts"):
        await events_of(stage.service.generate_batch(large, CALLER))
    assert time.process_time() - started < 0.05


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (api.GenerateBatchRequest(model="model"), "inputs"),
        (many([[1], []]), "inputs[1].prompt_tokens.ids"),
        (many([[1], [2], [256]]), "inputs[2].prompt_tokens.ids"),
        (many([[1], [1] * CONTEXT]), "inputs[1].prompt_tokens.ids"),
        (many([[1], [1] * 60], max_tokens=5), "sampling.max_tokens"),
        (many([[1]], min_tokens=64), "sampling.min_tokens"),
    ],
)
async def test_what_is_wrong_in_a_batch_is_named(wrong: api.GenerateBatchRequest, field: str) -> None:
    stage = Stage()
    with pytest.raises(errors.InvalidArgument) as refusal:
        await events_of(stage.service.generate_batch(wrong, CALLER))
    assert refusal.value.field == field
    assert (stage.model.admission.requests, stage.model._users) == (0, 0)
