"""Which models are served: finding one for a request, loading, switching versions, unloading.

A version that takes over is loaded and warm before the one before it is drained, so no request falls between. It knows
no messages; how a worker is started is the launcher's business.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import structlog

from loquor_server import errors
from loquor_server.chat_template import ChatTemplates
from loquor_server.launcher import ModelPlan
from loquor_server.replica import LoadFailed
from loquor_server.repository import ModelFilesRefused, ModelFolder, Repository
from loquor_server.served_model import ModelObserver, ModelState, ServedModel
from loquor_server.supervisor import Supervisor, Worker
from loquor_server.tokenization import TextTokenizer, TokenizerPool

log = structlog.get_logger()

T = TypeVar("T")
Launch = Callable[[ModelPlan, int], Awaitable[Worker]]
PlanModel = Callable[[ModelFolder], ModelPlan]


class Catalog:
    """The models of one repository, as this front serves them.

    `plan` checks a version's files and makes its settings; `launch` starts one worker of a plan. `settle` is awaited
    when a version has taken over, and when one is given no new requests and is about to end.
    """

    def __init__(
        self,
        repository: Repository,
        plan: PlanModel,
        launch: Launch,
        pool: TokenizerPool,
        observer: ModelObserver,
        silence_seconds: float,
        settle: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.repository = repository
        self._settle = settle or _nobody_else
        self._plan = plan
        self._launch = launch
        self._pool = pool
        self._observer = observer
        self._silence_seconds = silence_seconds
        self._versions: dict[str, dict[int, ServedModel]] = defaultdict(dict)
        self._defaults: dict[str, int] = {}
        self._supervisors: dict[ServedModel, list[Supervisor]] = {}
        self._locks: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._under_way: set[asyncio.Task[Any]] = set()

    def models(self) -> Iterator[ServedModel]:
        """Every version that is loaded, is being loaded or unloaded, or whose load failed last."""
        for versions in list(self._versions.values()):  # copied: the metrics' thread reads it too
            yield from list(versions.values())

    def names(self) -> list[str]:
        """The names that are served, or are to be once they have loaded."""
        return [name for name, versions in self._versions.items() if versions]

    def knows(self, name: str) -> bool:
        """Whether some version of this name is loaded, is loading or failed to load."""
        return bool(self._versions.get(name))

    def default_version(self, name: str) -> int | None:
        return self._defaults.get(name)

    def find(self, name: str, version: int | None = None) -> ServedModel:
        """The loaded version that a request means. Raises `ModelNotFound` or `Unavailable`."""
        wanted = self._defaults.get(name) if version is None else version
        model = self._versions[name].get(wanted) if name in self._versions and wanted is not None else None
        if model is not None and model.state in (ModelState.LOADING, ModelState.READY):
            return model
        self.repository.resolve(name, version)
        raise errors.Unavailable(f"model {name!r} is in the repository and not loaded")

    async def load(self, plan: ModelPlan, *, keep_others: bool = False) -> ServedModel:
        """Start a version, wait until it is ready, and let it take over from the one served by default.

        Raises `FailedPrecondition` with the reason if it cannot be loaded; what was served is served on.
        """
        folder = plan.folder
        async with self._locks[folder.name]:
            present = self._versions[folder.name].get(folder.version)
            if present is not None and present.state is ModelState.READY:
                return present
            model = await self._start(plan)
            before = self._defaults.get(folder.name)
            if not keep_others or before is None or before < folder.version:
                self._defaults[folder.name] = folder.version
            await self._settle()
            if before is not None and not keep_others:
                await self._end(self._versions[folder.name][before])
            return model

    async def load_newest(self, name: str, version: int | None) -> ServedModel:
        """`load` of a version by name, its files checked off the event loop. A caller who leaves does not stop it."""
        folder = self.repository.resolve(name, version)
        try:
            plan = await asyncio.to_thread(self._plan, folder)
        except ModelFilesRefused as refusal:
            raise errors.FailedPrecondition(str(refusal)) from None
        return await self._to_its_end(self.load(plan))

    async def unload(self, name: str, version: int | None = None) -> None:
        """Drain and end one loaded version, or all of a name. A caller who leaves does not stop it.

        Raises `ModelNotFound` if there is nothing of that name, neither loaded nor in the repository.
        """
        loaded = self._versions.get(name)
        if not loaded or version not in (None, *loaded):
            self.repository.resolve(name, version)
        await self._to_its_end(self._unload(name, version))

    async def _unload(self, name: str, version: int | None) -> None:
        async with self._locks[name]:
            for model in list(self._versions[name].values()):
                if version in (None, model.version):
                    await self._end(model)

    async def end(self, name: str, version: int) -> None:
        """Drain and end one loaded version, whatever the repository has."""
        async with self._locks[name]:
            if version in self._versions[name]:
                await self._end(self._versions[name][version])

    def set_default(self, name: str, version: int) -> None:
        """Give requests that name no version to this one, which is loaded."""
        self._defaults[name] = version

    async def close(self, patience_seconds: float) -> None:
        """End every worker, at once if `patience_seconds` is 0."""
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)
        supervisors = [supervisor for group in self._supervisors.values() for supervisor in group]
        self._supervisors.clear()
        await asyncio.gather(*(supervisor.stop(patience_seconds) for supervisor in supervisors))
        for model in self.models():
            model.end("the server is stopping")

    async def _to_its_end(self, work: Coroutine[Any, Any, T]) -> T:
        """Do this whether or not the caller waits for it: half a switch of versions is none."""
        task = asyncio.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._over)
        return await asyncio.shield(task)

    def _over(self, task: asyncio.Task[Any]) -> None:
        self._under_way.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.info("model not changed", reason=str(error))

    async def _start(self, plan: ModelPlan) -> ServedModel:
        folder = plan.folder
        tokenizer = await self._read_tokenizer(folder.path)
        templates = await asyncio.to_thread(ChatTemplates.load, folder.path)
        model = ServedModel(folder, plan.settings, tokenizer, self._observer, self._silence_seconds, templates)
        self._versions[folder.name][folder.version] = model
        supervisors = [
            Supervisor(folder.name, replica, lambda index=replica.index: self._launch(plan, index))  # type: ignore[misc]
            for replica in model.replicas
        ]
        self._supervisors[model] = supervisors
        try:
            await asyncio.gather(*(supervisor.first_ready for supervisor in supervisors))
        except LoadFailed as failure:
            await self._stop_workers(model)
            model.move(ModelState.FAILED, str(failure))
            raise errors.FailedPrecondition(f"model {folder.name!r} cannot be loaded: {failure}") from None
        except asyncio.CancelledError:
            await self._stop_workers(model)
            model.move(ModelState.UNLOADED)
            del self._versions[folder.name][folder.version]
            raise
        model.move(ModelState.READY)
        log.info("model ready", model=folder.name, version=folder.version)
        return model

    async def _read_tokenizer(self, path: Path) -> TextTokenizer | None:
        file = path / "tokenizer.json"
        return await asyncio.to_thread(TextTokenizer, self._pool, file) if file.exists() else None

    async def _end(self, model: ServedModel) -> None:
        if self._defaults.get(model.name) == model.version:
            del self._defaults[model.name]
        if model.state is ModelState.READY:
            model.move(ModelState.DRAINING)
            await self._settle()
            await model.drain()
        await self._stop_workers(model)
        model.end("the model is being unloaded")
        model.move(ModelState.UNLOADED)
        del self._versions[model.name][model.version]
        log.info("model unloaded", model=model.name, version=model.version)

    async def _stop_workers(self, model: ServedModel) -> None:
        supervisors = self._supervisors.pop(model, [])
        await asyncio.gather(*(supervisor.stop() for supervisor in supervisors))
        for supervisor in supervisors:
            supervisor.first_ready.cancel()


async def _nobody_else() -> None:
    """With one front there is nobody to wait for."""
