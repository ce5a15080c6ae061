"""The first front tells the others what is served and where the workers listen, and learns how far they have come.

It reads the catalog and changes nothing in it. How followers use what they are told is `follower`'s.
"""

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator, Callable

import grpc
import structlog

from loquor.internal.v1 import placement_service_pb2 as wire
from loquor_server.catalog import Catalog
from loquor_server.served_model import ModelState, ServedModel

log = structlog.get_logger()

FOLLOW_METHOD = "/loquor.internal.v1.PlacementService/Follow"

_PLACED = (ModelState.LOADING, ModelState.READY)
_SETTLE_SECONDS = 60.0


class Placement:
    """Of one server. `pages` are the followers' Prometheus pages by their index."""

    def __init__(self) -> None:
        self.pages: dict[int, str] = {}
        self._catalog: Catalog | None = None
        self._generation = 1
        self._changed = asyncio.Event()
        self._come_to: dict[int, int] = {}
        self._progress = asyncio.Event()

    def watch(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def handler(self) -> grpc.GenericRpcHandler:
        follow = grpc.stream_stream_rpc_method_handler(
            self._follow, wire.FollowRequest.FromString, wire.FollowResponse.SerializeToString
        )
        service, name = FOLLOW_METHOD.strip("/").split("/")
        return grpc.method_handlers_generic_handler(service, {name: follow})

    async def settle(self) -> None:
        """Tell the followers of the present state, and return once all that follow have come to it."""
        self.changed()
        generation = self._generation
        await self._wait(lambda: all(come_to >= generation for come_to in self._come_to.values()))

    async def gather(self, followers: int) -> None:
        """Return once so many follow and have come to the present state."""
        await self._wait(lambda: len(self._come_to) >= followers and min(self._come_to.values()) > 0)
        await self.settle()

    async def _wait(self, reached: Callable[[], bool]) -> None:
        """One that takes too long is waited for no longer: it will be told again."""
        try:
            async with asyncio.timeout(_SETTLE_SECONDS):
                while not reached():
                    self._progress.clear()
                    await self._progress.wait()
        except TimeoutError:
            log.warning("a front lags behind", generation=self._generation, fronts=dict(self._come_to))

    def changed(self) -> None:
        self._generation += 1
        self._changed.set()
        self._changed = asyncio.Event()

    # --- ModelObserver: a moved model or replica is a new state to tell ---

    def stepped(self, *_: object) -> None: ...

    def answered(self, *_: object) -> None: ...

    def tokens_came(self, *_: object, first: bool) -> None: ...

    def generated(self, *_: object) -> None: ...

    def moved(self, _: ServedModel) -> None:
        self.changed()

    async def _follow(
        self, requests: AsyncIterator[wire.FollowRequest], context: "grpc.aio.ServicerContext[object, object]"
    ) -> AsyncIterator[wire.FollowResponse]:
        front = (await anext(requests)).front
        self._come_to[front] = 0
        listening = asyncio.create_task(self._listen(front, requests))
        try:
            while True:
                changed, generation = self._changed, self._generation
                yield wire.FollowResponse(generation=generation, models=self._models())
                await changed.wait()
        finally:
            listening.cancel()
            self._come_to.pop(front, None)
            self.pages.pop(front, None)
            self._progress.set()

    async def _listen(self, front: int, requests: AsyncIterator[wire.FollowRequest]) -> None:
        async for request in requests:
            self._come_to[front] = request.generation
            self.pages[front] = request.metrics
            self._progress.set()

    def _models(self) -> list[wire.PlacedModel]:
        if self._catalog is None:
            return []
        default = self._catalog.default_version
        models = [model for model in self._catalog.models() if model.state in _PLACED]
        return [self._placed(model, default(model.name) == model.version) for model in models]

    def _placed(self, model: ServedModel, is_default: bool) -> wire.PlacedModel:
        workers = [
            wire.PlacedWorker(replica=replica.index, address=replica.address, epoch=replica.epoch)
            for replica in model.replicas
            if replica.epoch
        ]
        return wire.PlacedModel(
            name=model.name,
            version=model.version,
            is_default=is_default,
            settings=json.dumps(dataclasses.asdict(model.settings)),
            workers=workers,
        )
