"""`inference.GRPCInferenceService`: the table of its methods, and what each of them is given.

The service is the Open Inference Protocol's six methods and Triton's fourteen.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import Message

from loquor_server.caller import Caller
from loquor_server.catalog import Catalog
from loquor_server.inference import open_inference_pb2 as oip
from loquor_server.open_inference import shared_memory
from loquor_server.open_inference.generation_models import Generation
from loquor_server.open_inference.infer import Inference
from loquor_server.open_inference.log_settings import Logging, LogSettings
from loquor_server.open_inference.model_rpcs import ModelRpcs
from loquor_server.open_inference.repository_rpcs import RepositoryRpcs
from loquor_server.open_inference.server_rpcs import ServerRpcs
from loquor_server.open_inference.statistics import InferenceStatistics
from loquor_server.open_inference.stream import InferStream
from loquor_server.open_inference.trace_settings import TraceSettings
from loquor_server.rpc import Context, Handler, Rpc

SERVICE_NAME = "inference.GRPCInferenceService"

Behaviours = dict[str, tuple[type[Any], Callable[[Any, Caller], Awaitable[Message]]]]


@dataclass(frozen=True, slots=True)
class ServerControl:
    """What the server tells of itself, and lets a caller change if `allows_model_control`."""

    version: str
    is_ready: Callable[[], bool]
    allows_model_control: bool
    logging: Logging


def handlers(
    rpc: Rpc,
    catalog: Catalog,
    statistics: InferenceStatistics,
    control: ServerControl,
    generation: Generation,
) -> list[grpc.GenericRpcHandler]:
    """What a gRPC server needs to serve the protocol."""
    inference = Inference(catalog, statistics, generation)
    server = ServerRpcs(control.version, control.is_ready)
    models = ModelRpcs(catalog, statistics)
    repository = RepositoryRpcs(catalog, control.allows_model_control)
    traces = TraceSettings(catalog)
    logs = LogSettings(control.logging, control.allows_model_control)
    unary: Behaviours = {
        "ServerLive": (oip.ServerLiveRequest, server.live),
        "ServerReady": (oip.ServerReadyRequest, server.ready),
        "ServerMetadata": (oip.ServerMetadataRequest, server.metadata),
        "ModelReady": (oip.ModelReadyRequest, models.ready),
        "ModelMetadata": (oip.ModelMetadataRequest, models.metadata),
        "ModelConfig": (oip.ModelConfigRequest, models.config),
        "ModelStatistics": (oip.ModelStatisticsRequest, models.statistics),
        "ModelInfer": (oip.ModelInferRequest, inference.infer),
        "RepositoryIndex": (oip.RepositoryIndexRequest, repository.index),
        "RepositoryModelLoad": (oip.RepositoryModelLoadRequest, repository.load),
        "RepositoryModelUnload": (oip.RepositoryModelUnloadRequest, repository.unload),
        "SystemSharedMemoryStatus": (oip.SystemSharedMemoryStatusRequest, shared_memory.system_status),
        "SystemSharedMemoryRegister": (oip.SystemSharedMemoryRegisterRequest, shared_memory.system_register),
        "SystemSharedMemoryUnregister": (oip.SystemSharedMemoryUnregisterRequest, shared_memory.system_unregister),
        "CudaSharedMemoryStatus": (oip.CudaSharedMemoryStatusRequest, shared_memory.cuda_status),
        "CudaSharedMemoryRegister": (oip.CudaSharedMemoryRegisterRequest, shared_memory.cuda_register),
        "CudaSharedMemoryUnregister": (oip.CudaSharedMemoryUnregisterRequest, shared_memory.cuda_unregister),
        "TraceSetting": (oip.TraceSettingRequest, traces.trace_setting),
        "LogSettings": (oip.LogSettingsRequest, logs.log_settings),
    }
    methods = {name: rpc.unary(name, request, behave) for name, (request, behave) in unary.items()}
    methods["ModelStreamInfer"] = _stream_handler(rpc, inference)
    return [grpc.method_handlers_generic_handler(SERVICE_NAME, methods)]


def _stream_handler(rpc: Rpc, inference: Inference) -> Handler:
    """The metadata of a call says how its errors are told, so each call has a handler of its own."""

    async def handle(data: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        stream = InferStream(
            inference.responses, status_errors=_wants_status_errors(context.invocation_metadata() or ())
        )
        handler: Any = rpc.streaming("ModelStreamInfer", oip.ModelInferRequest, stream.responses)
        async with aclosing(handler.stream_stream(data, context)) as responses:
            async for response in responses:
                yield response

    return grpc.stream_stream_rpc_method_handler(handle)


def _wants_status_errors(metadata: Iterable[tuple[str, str | bytes]]) -> bool:
    return any(key == "triton_grpc_error" and value == "true" for key, value in metadata)
