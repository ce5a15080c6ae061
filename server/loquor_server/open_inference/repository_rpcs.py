"""The model repository extension: what there is, loading it and unloading it."""

from collections.abc import Mapping

from loquor_server import errors
from loquor_server.caller import Caller
from loquor_server.catalog import Catalog
from loquor_server.inference import open_inference_pb2 as oip
from loquor_server.model_service import check_control
from loquor_server.served_model import ModelState, ServedModel

_STATES = {
    ModelState.LOADING: "LOADING",
    ModelState.READY: "READY",
    ModelState.DRAINING: "UNLOADING",
    ModelState.UNLOADED: "UNAVAILABLE",
    ModelState.FAILED: "UNAVAILABLE",
}


class RepositoryRpcs:
    """The behaviours of these methods. `allows_control` is whether callers may load and unload."""

    def __init__(self, catalog: Catalog, allows_control: bool) -> None:
        self._catalog = catalog
        self._allows_control = allows_control

    async def index(self, request: oip.RepositoryIndexRequest, _caller: Caller) -> oip.RepositoryIndexResponse:
        """Every version in the repository, loaded or not."""
        _check_repository(request.repository_name)
        repository = self._catalog.repository
        stored = {(name, version) for name in repository.names() for version in repository.versions(name)}
        served = {(model.name, model.version): model for model in self._catalog.models()}
        response = oip.RepositoryIndexResponse()
        for name, version in sorted(stored | served.keys()):
            entry = _entry(name, version, served.get((name, version)))
            if entry.state == "READY" or not request.ready:
                response.models.append(entry)
        return response

    async def load(self, request: oip.RepositoryModelLoadRequest, _caller: Caller) -> oip.RepositoryModelLoadResponse:
        """The newest version takes over from the one that is served."""
        _check_repository(request.repository_name)
        _check_named(request.model_name)
        check_control(self._allows_control)
        _refuse_overrides(request.parameters)
        await self._catalog.load_newest(request.model_name, None)
        return oip.RepositoryModelLoadResponse()

    async def unload(
        self, request: oip.RepositoryModelUnloadRequest, _caller: Caller
    ) -> oip.RepositoryModelUnloadResponse:
        """Every loaded version. No model depends on another, so `unload_dependents` changes nothing."""
        _check_repository(request.repository_name)
        _check_named(request.model_name)
        check_control(self._allows_control)
        for name in request.parameters:
            if name != "unload_dependents":
                raise errors.InvalidArgument(f"parameters[{name[:64]!r}]", "is unknown; unload_dependents is known")
        await self._catalog.unload(request.model_name)
        return oip.RepositoryModelUnloadResponse()


def _entry(name: str, version: int, model: ServedModel | None) -> oip.RepositoryIndexResponse.ModelIndex:
    entry = oip.RepositoryIndexResponse.ModelIndex(name=name, version=str(version))
    if model is None:
        entry.state, entry.reason = "UNAVAILABLE", "unloaded"
    elif model.state is ModelState.READY and not model.ready:
        entry.state, entry.reason = "UNAVAILABLE", "no replica is ready"
    else:
        entry.state, entry.reason = _STATES[model.state], model.reason
    return entry


def _check_repository(name: str) -> None:
    if name:
        raise errors.InvalidArgument("repository_name", "must be empty: a server has one repository")


def _check_named(name: str) -> None:
    if not name:
        raise errors.InvalidArgument("model_name", "must name a model")


def _refuse_overrides(parameters: Mapping[str, oip.ModelRepositoryParameter]) -> None:
    for name in parameters:
        field = f"parameters[{name[:64]!r}]"
        if name == "config":
            reason = "a configuration in the request is not supported; put loquor.toml into the version's folder"
        elif name.startswith("file:"):
            reason = "files in the request are not supported; put them into the repository, as a version of their own"
        else:
            reason = "is unknown; a model is loaded as the repository has it"
        raise errors.InvalidArgument(field, reason)
