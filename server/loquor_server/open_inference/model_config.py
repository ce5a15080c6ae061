"""A model's metadata and configuration, as clients and load tools read them.

It describes what a model takes and how it is served; it decides nothing.
"""

import json
from collections import Counter
from collections.abc import Iterable

from loquor.v1.model_service_pb2 import TASK_GENERATE, Task
from loquor_server.caller import DEFAULT_PRIORITY, LAST_PRIORITY
from loquor_server.inference import open_inference_pb2 as oip
from loquor_server.open_inference.signature import signature_of
from loquor_server.open_inference.tensor_kinds import Signature, TensorKind
from loquor_server.open_inference.tensors import BYTES
from loquor_server.served_model import ServedModel

BACKEND = "loquor"

_LABEL_FILE = "config.json"


def metadata_of(model: ServedModel, versions: Iterable[int]) -> oip.ModelMetadataResponse:
    """`versions` are those of the name that are loaded."""
    signature = signature_of(model)
    response = oip.ModelMetadataResponse(name=model.name, versions=map(str, versions), platform=BACKEND)
    for kind in signature.inputs:
        response.inputs.add(name=kind.name, datatype=kind.datatype, shape=kind.shape)
    for kind in signature.outputs:
        response.outputs.add(name=kind.name, datatype=kind.datatype, shape=kind.shape)
    response.properties.update(_properties(model))
    return response


def config_of(model: ServedModel) -> oip.ModelConfig:
    generates = model.hello.task == TASK_GENERATE
    config = oip.ModelConfig(
        name=model.name,
        platform=BACKEND,
        backend=BACKEND,
        version_policy=oip.ModelVersionPolicy(latest=oip.ModelVersionPolicy.Latest(num_versions=1)),
        max_batch_size=0 if generates else model.settings.max_texts_per_request,
        dynamic_batching=_batching(model),
        model_transaction_policy=oip.ModelTransactionPolicy(decoupled=generates),
        instance_group=_instance_groups(model),
    )
    _add_tensors(config, signature_of(model))
    for name, value in _properties(model).items():
        config.parameters[name].string_value = value
    return config


def _properties(model: ServedModel) -> dict[str, str]:
    hello = model.hello
    properties = {"task": Task.Name(hello.task).removeprefix("TASK_").lower(), "dtype": hello.dtype}
    if hello.sequence_tokens:
        properties["sequence_tokens"] = str(hello.sequence_tokens)
    if hello.labels:
        properties["labels"] = json.dumps(list(hello.labels), ensure_ascii=False)
    return properties


def _add_tensors(config: oip.ModelConfig, signature: Signature) -> None:
    for kind in signature.inputs:
        config.input.add(name=kind.name, data_type=_type_of(kind), dims=kind.dims, optional=kind.optional)
    for kind in signature.outputs:
        labels = _LABEL_FILE if kind.labelled else ""
        config.output.add(name=kind.name, data_type=_type_of(kind), dims=kind.dims, label_filename=labels)


def _type_of(kind: TensorKind) -> oip.DataType:
    return oip.TYPE_STRING if kind.datatype == BYTES else getattr(oip, f"TYPE_{kind.datatype}")


def _batching(model: ServedModel) -> oip.ModelDynamicBatching:
    settings = model.settings
    return oip.ModelDynamicBatching(
        max_queue_delay_microseconds=round(settings.max_queue_delay_seconds * 1e6),
        priority_levels=LAST_PRIORITY,
        default_priority_level=DEFAULT_PRIORITY,
        default_queue_policy=oip.ModelQueuePolicy(
            timeout_action=oip.ModelQueuePolicy.REJECT,
            allow_timeout_override=True,
            max_queue_size=settings.max_queue_requests,
        ),
    )


def _instance_groups(model: ServedModel) -> list[oip.ModelInstanceGroup]:
    """One a device, with the replicas on it."""
    devices = Counter(replica.hello.device for replica in model.replicas if replica.hello is not None)
    groups = []
    for device, count in sorted(devices.items()):
        kind, _, index = device.partition(":")
        group = oip.ModelInstanceGroup(name=f"{model.name}_{device}", count=count, kind=oip.ModelInstanceGroup.KIND_CPU)
        if kind == "cuda":
            group.kind = oip.ModelInstanceGroup.KIND_GPU
            group.gpus.append(int(index or 0))
        groups.append(group)
    return groups
