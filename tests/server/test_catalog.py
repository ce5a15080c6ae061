"""Finding, loading, switching and unloading models, with workers in threads of this process."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from loquor.internal.v1 import replica_service_pb2 as wire
from loquor_server import errors
from loquor_server.caller import Caller
from loquor_server.catalog import Catalog
from loquor_server.launcher import ModelPlan
from loquor_server.pending_request import Answer
from loquor_server.repository import ModelFolder, ModelSettings, Repository
from loquor_server.served_model import ModelState, Part, ServedModel
from loquor_server.tokenization import TokenizerPool
from tests.server.conftest import EchoEngine, LocalWorker, MakeWorker


class Observer:
    """The states that models came to."""

    def __init__(self) -> None:
        self.states: list[tuple[int, ModelState]] = []

    def stepped(self, *_: object) -> None: ...

    def answered(self, _: ServedModel, __: Sequence[Answer]) -> None: ...

    def tokens_came(self, *_: object, first: bool) -> None: ...

    def generated(self, *_: object) -> None: ...

    def moved(self, model: ServedModel) -> None:
        if (model.version, model.state) not in self.states[-1:]:
            self.states.append((model.version, model.state))


class Place:
    """A catalog of `one`, versions 1 to 3, and the workers that it has started. Version 3 cannot be loaded."""

    def __init__(self, root: Path, make: MakeWorker) -> None:
        for version in (1, 2, 3):
            (root / "one" / str(version)).mkdir(parents=True)
        self.workers: dict[int, LocalWorker] = {}
        self.observer = Observer()
        self.pool = TokenizerPool(1)
        self.held = asyncio.Event()
        self.held.set()
        self._make = make
        self.catalog = Catalog(Repository(root), self._plan, self._launch, self.pool, self.observer, 5.0)

    def _plan(self, folder: ModelFolder) -> ModelPlan:
        return ModelPlan(folder, ModelSettings())

    async def _launch(self, plan: ModelPlan, replica: int) -> LocalWorker:
        await self.held.wait()
        worker = self._make(EchoEngine())
        self.workers[plan.folder.version] = worker
        if plan.folder.version == 3:
            worker.link.fail("model.safetensors: is damaged", 0.0)
        else:
            worker.ready()
        return worker

    def alive(self) -> list[int]:
        return [version for version, worker in self.workers.items() if not worker.engine.dead]


@pytest.fixture
async def place(tmp_path: Path, make_worker: MakeWorker) -> AsyncIterator[Place]:
    made = Place(tmp_path / "models", make_worker)
    yield made
    await made.catalog.close(1.0)
    made.pool.close()


async def ask(model: ServedModel, token: int) -> bytes:
    part = Part(wire.Submission(tokens=wire.TokenInput(ids=[token])), 1, 1)
    with model.in_use():
        (answer,) = await model.run([part], Caller("test"))
    return answer.tensors[0].data


@asynccontextmanager
async def under_way(place: Place, version: int) -> AsyncIterator["asyncio.Task[bytes]"]:
    """A request that the worker of this version holds until the end of the block."""
    worker = place.workers[version]
    worker.engine.open.clear()
    asked = asyncio.create_task(ask(place.catalog.find("one", version), version))
    await asyncio.sleep(0.05)
    try:
        yield asked
    finally:
        worker.engine.open.set()


async def test_what_is_not_there_and_what_is_not_loaded_are_told_apart(place: Place) -> None:
    with pytest.raises(errors.ModelNotFound):
        place.catalog.find("two")
    with pytest.raises(errors.ModelNotFound):
        place.catalog.find("one", 9)
    with pytest.raises(errors.Unavailable):
        place.catalog.find("one")
    assert not place.catalog.knows("one")


async def test_a_loaded_version_is_found_and_answers(place: Place) -> None:
    model = await place.catalog.load_newest("one", 1)
    assert place.catalog.find("one") is place.catalog.find("one", 1) is model
    assert await ask(model, 7) == b"[7]"
    assert await place.catalog.load_newest("one", 1) is model
    with pytest.raises(errors.Unavailable):
        place.catalog.find("one", 2)


async def test_a_new_version_takes_over_once_it_is_ready_and_the_old_one_answers_what_it_has(place: Place) -> None:
    await place.catalog.load_newest("one", 1)
    async with under_way(place, 1) as asked:
        loading = asyncio.create_task(place.catalog.load_newest("one", 2))
        async with asyncio.timeout(5):
            while place.catalog.default_version("one") == 1:
                await asyncio.sleep(0.01)
        assert await ask(place.catalog.find("one"), 8) == b"[8]"
        assert place.alive() == [1, 2]
        assert not loading.done()
    assert await asked == b"[1]"
    await loading
    assert place.alive() == [2]
    ready, draining, unloaded = ModelState.READY, ModelState.DRAINING, ModelState.UNLOADED
    moves = [state for version, state in place.observer.states if version == 1]
    assert [state for state in moves if state in (ready, draining, unloaded)][-2:] == [draining, unloaded]


async def test_a_request_that_found_the_old_version_is_answered_by_it(place: Place) -> None:
    """It may still be at its tokens when the switch comes."""
    old = await place.catalog.load_newest("one", 1)
    with old.in_use():
        loading = asyncio.create_task(place.catalog.load_newest("one", 2))
        async with asyncio.timeout(5):
            while old.state is not ModelState.DRAINING:
                await asyncio.sleep(0.01)
        assert await ask(old, 5) == b"[5]"
    await loading


async def test_what_cannot_be_loaded_is_refused_with_the_reason_and_the_old_version_serves_on(place: Place) -> None:
    old = await place.catalog.load_newest("one", 2)
    with pytest.raises(errors.FailedPrecondition, match=r"model\.safetensors: is damaged"):
        await place.catalog.load_newest("one", None)
    assert place.catalog.find("one") is old
    assert await ask(old, 5) == b"[5]"
    failed = [model for model in place.catalog.models() if model.version == 3]
    assert [(model.state, model.reason) for model in failed] == [(ModelState.FAILED, "model.safetensors: is damaged")]
    assert place.alive() == [2]


async def test_unloading_answers_what_is_under_way_and_ends_the_worker(place: Place) -> None:
    await place.catalog.load_newest("one", 1)
    async with under_way(place, 1) as asked:
        unloading = asyncio.create_task(place.catalog.unload("one"))
        await asyncio.sleep(0.05)
        with pytest.raises(errors.Unavailable):
            place.catalog.find("one")
    assert await asked == b"[1]"
    await unloading
    assert place.alive() == []
    assert place.catalog.names() == []
    await place.catalog.unload("one")  # nothing is left to do
    with pytest.raises(errors.ModelNotFound):
        await place.catalog.unload("two")


async def test_a_caller_who_leaves_does_not_stop_a_load(place: Place) -> None:
    place.held.clear()
    loading = asyncio.create_task(place.catalog.load_newest("one", 1))
    await asyncio.sleep(0.05)
    loading.cancel()
    await asyncio.gather(loading, return_exceptions=True)
    place.held.set()
    async with asyncio.timeout(5):
        while place.catalog.default_version("one") is None:
            await asyncio.sleep(0.01)
    assert await ask(place.catalog.find("one"), 4) == b"[4]"


async def test_closing_stops_a_load_and_fails_what_waits(tmp_path: Path, make_worker: MakeWorker) -> None:
    place = Place(tmp_path / "models", make_worker)
    await place.catalog.load_newest("one", 1)
    async with under_way(place, 1) as asked:
        place.held.clear()
        loading = asyncio.create_task(place.catalog.load_newest("one", 2))
        await asyncio.sleep(0.05)
        await place.catalog.close(0.0)
        with pytest.raises(errors.Unavailable):
            await asked
        assert isinstance((await asyncio.gather(loading, return_exceptions=True))[0], asyncio.CancelledError)
    assert place.alive() == []
    place.pool.close()
