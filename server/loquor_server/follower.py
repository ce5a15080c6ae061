"""How a further front comes to what the first one says: models loaded, ended and switched, workers dialled.

Workers are started and ended by the first front alone. What callers of this front ask of the repository is passed on.
"""

import asyncio
import functools
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine

import grpc
import structlog

from loquor.internal.v1 import placement_service_pb2 as wire
from loquor.v1 import model_service_pb2, model_service_pb2_grpc
from loquor_server import errors
from loquor_server.catalog import Catalog
from loquor_server.launcher import ModelPlan
from loquor_server.placement import FOLLOW_METHOD
from loquor_server.repository import ModelSettings
from loquor_server.served_model import ModelState, ServedModel

log = structlog.get_logger()

Key = tuple[str, int]

_REPORT_SECONDS = 1.0
_CONTROL_SECONDS = 600.0
# How a worker ended, its own front knows: here any end may have been a crash.
_UNKNOWN_STATUS = 1


class PlacedWorker:
    """A worker that somebody else started, for as long as it is where it was said to be."""

    def __init__(self, worker: wire.PlacedWorker, gone: Callable[[], Awaitable[int]]) -> None:
        self.address = worker.address
        self.epoch = worker.epoch
        self._gone = gone

    async def exited(self) -> int:
        return await self._gone()

    async def end(self, patience_seconds: float) -> int:
        """It is not ours to end."""
        return 0


class Follower:
    """Of one further front, with index `front`. `page` makes its Prometheus page."""

    def __init__(self, channel: grpc.aio.Channel, front: int, page: Callable[[], str]) -> None:
        self.followed = asyncio.Event()
        self._channel = channel
        self._front = front
        self._page = page
        self._generation = 0
        self._placed: dict[Key, wire.PlacedModel] = {}
        self._news = asyncio.Event()
        self._dialled: dict[tuple[str, int, int], int] = {}
        self._moving: dict[Key, asyncio.Task[None]] = {}
        self._loading: set[Key] = set()
        self._reports: asyncio.Queue[int] = asyncio.Queue()

    async def follow(self, catalog: Catalog) -> None:
        """For as long as the first front lives. Raises `grpc.aio.AioRpcError` when it does not."""
        call = self._channel.stream_stream(
            FOLLOW_METHOD, wire.FollowRequest.SerializeToString, wire.FollowResponse.FromString
        )(self._reported())
        async for response in call:
            self._generation = response.generation
            self._placed = {(model.name, model.version): model for model in response.models}
            self._news.set()
            self._news = asyncio.Event()
            self._come_along(catalog)

    async def launch(self, plan: ModelPlan, replica: int) -> PlacedWorker:
        """The next worker of a replica, once there is one that has not been dialled yet."""
        key = (plan.folder.name, plan.folder.version, replica)
        while True:
            worker = self._worker(*key)
            if worker is not None and worker.epoch > self._dialled.get(key, 0):
                self._dialled[key] = worker.epoch
                return PlacedWorker(worker, functools.partial(self._until_gone, key, worker.epoch))
            await self._news.wait()

    async def _until_gone(self, key: tuple[str, int, int], epoch: int) -> int:
        while (worker := self._worker(*key)) is not None and worker.epoch == epoch:
            await self._news.wait()
        return _UNKNOWN_STATUS

    def _worker(self, name: str, version: int, replica: int) -> wire.PlacedWorker | None:
        model = self._placed.get((name, version))
        workers = model.workers if model is not None else ()
        return next((worker for worker in workers if worker.replica == replica), None)

    def _come_along(self, catalog: Catalog) -> None:
        """Start what is missing, end what is left over, and report once there is nothing of either."""
        present = {(model.name, model.version) for model in catalog.models() if model.state is not ModelState.FAILED}
        for key, model in self._placed.items():
            if key not in present and key not in self._moving:
                self._move(catalog, key, self._load(catalog, model))
            elif model.is_default and key in present and key not in self._moving:
                catalog.set_default(*key)
        for key in self._loading - self._placed.keys():
            self._moving[key].cancel()
        for key in present - self._placed.keys() - self._moving.keys():
            self._move(catalog, key, catalog.end(*key))
        if not self._moving:
            self.followed.set()
            self._reports.put_nowait(self._generation)

    def _move(self, catalog: Catalog, key: Key, moving: Coroutine[object, object, None]) -> None:
        async def move() -> None:
            try:
                await moving
            except (errors.RequestError, asyncio.CancelledError) as error:
                log.info("a model did not come along", model=key[0], version=key[1], error=type(error).__name__)
            finally:
                del self._moving[key]
            self._come_along(catalog)

        self._moving[key] = asyncio.create_task(move())

    async def _load(self, catalog: Catalog, model: wire.PlacedModel) -> None:
        folder = catalog.repository.resolve(model.name, model.version)
        settings = ModelSettings(**json.loads(model.settings))
        self._loading.add((model.name, model.version))
        try:
            await catalog.load(ModelPlan(folder, settings), keep_others=True)
        finally:
            self._loading.discard((model.name, model.version))

    async def _reported(self) -> AsyncIterator[wire.FollowRequest]:
        """What this front has come to: at once when there is news, and every second with its metrics."""
        generation = 0
        while True:
            yield wire.FollowRequest(front=self._front, generation=generation, metrics=self._page())
            try:
                generation = await asyncio.wait_for(self._reports.get(), _REPORT_SECONDS)
            except TimeoutError:
                continue


class FollowingCatalog(Catalog):
    """A catalog whose callers' loads and unloads are done by the first front."""

    def through(self, channel: grpc.aio.Channel) -> "FollowingCatalog":
        self._first = model_service_pb2_grpc.ModelServiceStub(channel)
        return self

    async def load_newest(self, name: str, version: int | None) -> ServedModel:
        request = model_service_pb2.LoadModelRequest(name=name, version=version)
        loaded = await _passed_on(self._first.LoadModel(request, timeout=_CONTROL_SECONDS))
        return self.find(loaded.model.name, loaded.model.version)

    async def unload(self, name: str, version: int | None = None) -> None:
        request = model_service_pb2.UnloadModelRequest(name=name, version=version)
        await _passed_on(self._first.UnloadModel(request, timeout=_CONTROL_SECONDS))


async def _passed_on(call: "grpc.aio.UnaryUnaryCall[object, object]") -> "model_service_pb2.LoadModelResponse":
    """The reply of the first front, or its refusal as ours."""
    try:
        return await call  # type: ignore[return-value]
    except grpc.aio.AioRpcError as error:
        refusal = errors.RequestError(error.details() or "the first front failed")
        refusal.status = error.code().name
        raise refusal from None
