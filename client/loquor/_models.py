"""What the server says about a model: frozen values, which know no wire."""

from dataclasses import dataclass
from enum import StrEnum

from loquor._tensors import DataType


class Task(StrEnum):
    """What a model does, and so which call it answers."""

    UNSPECIFIED = "unspecified"
    EMBED = "embed"
    CLASSIFY = "classify"
    TAG_TOKENS = "tag_tokens"
    INFER = "infer"
    GENERATE = "generate"


class ModelState(StrEnum):
    """READY means that at least one replica answers; FAILED comes with a reason."""

    UNSPECIFIED = "unspecified"
    UNLOADED = "unloaded"
    LOADING = "loading"
    READY = "ready"
    DRAINING = "draining"
    FAILED = "failed"


class ReplicaState(StrEnum):
    """LOST means that its worker died or hung, and that a new one is on its way."""

    UNSPECIFIED = "unspecified"
    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    STOPPED = "stopped"
    LOST = "lost"


class Health(StrEnum):
    """What `grpc.health.v1` says about a server or a model."""

    UNKNOWN = "unknown"
    SERVING = "serving"
    NOT_SERVING = "not_serving"
    SERVICE_UNKNOWN = "service_unknown"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a request may ask at most; for a tensor model, a row is a text and a token."""

    sequence_tokens: int
    texts_per_request: int
    batch_tokens: int
    queue_requests: int
    queue_tokens: int


@dataclass(frozen=True, slots=True)
class Replica:
    """One loaded copy of a model, in a worker process of its own."""

    index: int
    state: ReplicaState
    device: str
    restarts: int
    running_requests: int
    steps: int


@dataclass(frozen=True, slots=True)
class TensorSignature:
    """What a model takes or gives under one name; -1 in the shape is any size, the first axis is the batch."""

    name: str
    data_type: DataType
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Model:
    """One version of one model. From `task` on, known once a replica has been ready."""

    name: str
    version: int
    state: ModelState
    reason: str
    task: Task
    limits: Limits
    dtype: str
    devices: tuple[str, ...]
    replicas: tuple[Replica, ...]
    embedding_dimensions: int
    labels: tuple[str, ...]
    inputs: tuple[TensorSignature, ...]
    outputs: tuple[TensorSignature, ...]
