"""`loquor.v1.ModelService`: what there is in the repository, and loading and unloading it."""

import grpc

from loquor.v1 import model_service_pb2 as api
from loquor_server import errors
from loquor_server.caller import Caller
from loquor_server.catalog import Catalog
from loquor_server.replica import Replica, ReplicaState
from loquor_server.rpc import Rpc
from loquor_server.served_model import ModelState, ServedModel

NAME = "loquor.v1.ModelService"

_MODEL_STATES = {
    ModelState.LOADING: api.MODEL_STATE_LOADING,
    ModelState.READY: api.MODEL_STATE_READY,
    ModelState.DRAINING: api.MODEL_STATE_DRAINING,
    ModelState.UNLOADED: api.MODEL_STATE_UNLOADED,
    ModelState.FAILED: api.MODEL_STATE_FAILED,
}
_REPLICA_STATES = {
    ReplicaState.STARTING: api.REPLICA_STATE_STARTING,
    ReplicaState.READY: api.REPLICA_STATE_READY,
    ReplicaState.DRAINING: api.REPLICA_STATE_DRAINING,
    ReplicaState.STOPPED: api.REPLICA_STATE_STOPPED,
    ReplicaState.LOST: api.REPLICA_STATE_LOST,
}


class ModelService:
    """The behaviours of the service. `allows_control` is whether models may be loaded and unloaded by callers."""

    def __init__(self, catalog: Catalog, allows_control: bool) -> None:
        self._catalog = catalog
        self._allows_control = allows_control

    def handler(self, rpc: Rpc) -> grpc.GenericRpcHandler:
        return grpc.method_handlers_generic_handler(
            NAME,
            {
                "ListModels": rpc.unary("ListModels", api.ListModelsRequest, self.list_models),
                "GetModel": rpc.unary("GetModel", api.GetModelRequest, self.get_model),
                "LoadModel": rpc.unary("LoadModel", api.LoadModelRequest, self.load_model),
                "UnloadModel": rpc.unary("UnloadModel", api.UnloadModelRequest, self.unload_model),
            },
        )

    async def list_models(self, _request: api.ListModelsRequest, _caller: Caller) -> api.ListModelsResponse:
        served = {(model.name, model.version): model for model in self._catalog.models()}
        stored = {(folder.name, folder.version) for folder in self._catalog.repository.folders()}
        listed = [self._message(*key, served.get(key)) for key in sorted(stored | served.keys())]
        return api.ListModelsResponse(models=listed)

    async def get_model(self, request: api.GetModelRequest, _caller: Caller) -> api.GetModelResponse:
        version = request.version if request.HasField("version") else self._catalog.default_version(_named(request))
        return api.GetModelResponse(model=self._describe(_named(request), version))

    async def load_model(self, request: api.LoadModelRequest, _caller: Caller) -> api.LoadModelResponse:
        check_control(self._allows_control)
        version = request.version if request.HasField("version") else None
        model = await self._catalog.load_newest(_named(request), version)
        return api.LoadModelResponse(model=self._describe(model.name, model.version))

    async def unload_model(self, request: api.UnloadModelRequest, _caller: Caller) -> api.UnloadModelResponse:
        check_control(self._allows_control)
        await self._catalog.unload(_named(request), request.version if request.HasField("version") else None)
        return api.UnloadModelResponse()

    def _describe(self, name: str, version: int | None) -> api.Model:
        for model in self._catalog.models():
            if model.name == name and model.version == version:
                return self._message(name, model.version, model)
        folder = self._catalog.repository.resolve(name, version)
        return self._message(name, folder.version, None)

    def _message(self, name: str, version: int, model: ServedModel | None) -> api.Model:
        if model is None:
            return api.Model(name=name, version=version, state=api.MODEL_STATE_UNLOADED)
        message = api.Model(name=name, version=version, state=_MODEL_STATES[model.state], reason=model.reason)
        message.replicas.extend(_replica_message(replica) for replica in model.replicas)
        greeted = next((replica.hello for replica in model.replicas if replica.hello is not None), None)
        if greeted is not None:
            message.MergeFrom(
                api.Model(
                    task=greeted.task,
                    limits=limits_of(model),
                    dtype=greeted.dtype,
                    devices=sorted({replica.hello.device for replica in model.replicas if replica.hello is not None}),
                    embedding_dimensions=greeted.embedding_dimensions,
                    labels=greeted.labels,
                    inputs=greeted.inputs,
                    outputs=greeted.outputs,
                )
            )
        return message


def limits_of(model: ServedModel) -> api.Limits:
    hello = model.hello
    return api.Limits(
        sequence_tokens=hello.sequence_tokens,
        texts_per_request=model.settings.max_texts_per_request,
        batch_tokens=hello.batch_tokens,
        queue_requests=model.settings.max_queue_requests,
        queue_tokens=model.settings.max_queue_tokens,
    )


def check_control(allowed: bool) -> None:
    if not allowed:
        raise errors.PermissionDenied("loading and unloading models is off on this server (setting model_control)")


def _named(request: "api.GetModelRequest | api.LoadModelRequest | api.UnloadModelRequest") -> str:
    if not request.name:
        raise errors.InvalidArgument("name", "must name a model")
    return request.name


def _replica_message(replica: Replica) -> api.Replica:
    return api.Replica(
        index=replica.index,
        state=_REPLICA_STATES[replica.state],
        device=replica.hello.device if replica.hello is not None else "",
        restarts=replica.restarts,
        running_requests=replica.running.rows,
        steps=replica.steps,
    )
