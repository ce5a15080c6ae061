"""The worker's end of the socket, dialled by fronts of gRPC's own making."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from loquor.internal import channels
from loquor.internal.protocol import PROTOCOL_VERSION, SERVE_METHOD
from loquor.internal.v1 import replica_service_pb2 as wire
from loquor_worker.inbox import Arrived, Cancelled, Gone, Inbox
from loquor_worker.link import Link
from loquor_worker.worker import Progress

EPOCH = 42


class Far:
    """A front's stream."""

    def __init__(self, call: Any) -> None:
        self._call = call

    async def send(self, **message: Any) -> None:
        await self._call.write(wire.ServeRequest(**message))

    async def next(self, kind: str) -> wire.ServeResponse:
        """The next message of this kind, or `room` alone; heartbeats are passed over unless asked for."""
        async with asyncio.timeout(5):
            while True:
                response: wire.ServeResponse = await self._call.read()
                found = response.WhichOneof("message") or "room"
                if found == kind:
                    assert response.epoch == EPOCH
                    return response
                assert found in ("heartbeat", "room"), found


class Place:
    """A link and what came in by it."""

    def __init__(self, folder: Path) -> None:
        self.address = f"unix:{folder / 'worker.sock'}"
        self.inbox = Inbox()
        self.progress = Progress()
        self.link = Link(self.address, EPOCH, self.inbox, self.progress, 0.02)
        self.link.open()

    def ready(self) -> None:
        self.link.ready(wire.WorkerHello(device="cpu"), wire.Room(submissions=100, tokens=1000))

    @asynccontextmanager
    async def dialled(self) -> AsyncIterator[Far]:
        channel = channels.open_channel(self.address)
        call = channel.stream_stream(SERVE_METHOD, wire.ServeRequest.SerializeToString, wire.ServeResponse.FromString)()
        far = Far(call)
        await far.send(hello=wire.FrontHello(protocol_version=PROTOCOL_VERSION))
        yield far
        call.cancel()
        await channel.close()

    async def received(self, kind: type[Any]) -> Any:
        while True:
            for message in await asyncio.to_thread(self.inbox.take, 5):
                if isinstance(message, kind):
                    return message
                assert not isinstance(message, Arrived)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.link.close(5)


async def test_it_greets_fronts_that_came_before_and_after_the_model_was_ready(place: Place) -> None:
    async with place.dialled() as early:
        await early.next("heartbeat")
        place.ready()
        hello = await early.next("hello")
        assert (hello.hello.protocol_version, hello.hello.device) == (PROTOCOL_VERSION, "cpu")
        assert (hello.room.submissions, hello.room.tokens) == (100, 1000)
        async with place.dialled() as late:
            assert (await late.next("hello")).room.tokens == 500


async def test_every_front_is_told_its_share_as_others_come_and_go(place: Place) -> None:
    place.ready()
    async with place.dialled() as first:
        await first.next("hello")
        assert (await first.next("room")).room.tokens == 1000
        async with place.dialled() as second:
            await second.next("hello")
            assert (await second.next("room")).room.tokens == 500
            assert (await first.next("room")).room.tokens == 500
            async with place.dialled() as third:
                await third.next("hello")
                assert (await first.next("room")).room.tokens == 333
                assert (await second.next("room")).room.tokens == 333
            assert (await first.next("room")).room.tokens == 500
            assert (await second.next("room")).room.tokens == 500
        assert (await first.next("room")).room.tokens == 1000


async def test_a_failure_to_load_is_told_to_all(place: Place) -> None:
    async with place.dialled() as early:
        await early.next("heartbeat")
        await asyncio.to_thread(place.link.fail, "config.json: is missing", 5.0)
        assert (await early.next("failure")).failure.message == "config.json: is missing"
    async with place.dialled() as late:
        assert (await late.next("failure")).failure.message == "config.json: is missing"


async def test_submissions_cancels_and_the_end_of_a_stream_reach_the_inbox(place: Place) -> None:
    place.ready()
    async with place.dialled() as far:
        await far.next("hello")
        submissions = [wire.Submission(id=id, tokens=wire.TokenInput(ids=[1])) for id in (1, 2)]
        await far.send(submissions=wire.Submissions(submissions=submissions))
        arrived = await place.received(Arrived)
        assert [submission.id for submission in arrived.submissions] == [1, 2]
        await far.send(cancels=wire.Cancels(ids=[2]))
        cancelled = await place.received(Cancelled)
        assert (cancelled.sender, cancelled.ids) == (arrived.sender, [2])
        place.link.send(arrived.sender, wire.StepResults(step=7))
        assert (await far.next("results")).results.step == 7
    assert (await place.received(Gone)).sender is arrived.sender
    place.link.send(arrived.sender, wire.StepResults(step=8))  # to nobody


async def test_heartbeats_tell_of_the_step(place: Place) -> None:
    async with place.dialled() as far:
        beat = (await far.next("heartbeat")).heartbeat
        assert (beat.steps, beat.step_seconds) == (0, 0.0)
        place.progress.steps = 3
        place.progress.step_started_at = 0.0
        async with asyncio.timeout(5):
            while (beat := (await far.next("heartbeat")).heartbeat).steps != 3:
                pass
        assert beat.step_seconds > 0


async def test_what_was_said_last_is_sent_before_it_hangs_up(place: Place) -> None:
    async with place.dialled() as far:
        await far.next("heartbeat")
        place.link.fail("the last word", 0.0)
        closing = asyncio.create_task(asyncio.to_thread(place.link.close, 5))
        assert (await far.next("failure")).failure.message == "the last word"
        await closing


def test_an_address_that_is_not_to_be_had_raises(tmp_path: Path) -> None:
    link = Link(f"unix:{tmp_path / 'nowhere' / 'worker.sock'}", EPOCH, Inbox(), Progress(), 1.0)
    with pytest.raises(RuntimeError):
        link.open()
