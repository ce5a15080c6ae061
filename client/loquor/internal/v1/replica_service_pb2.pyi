from loquor.v1 import model_service_pb2 as _model_service_pb2
from loquor.v1 import tensor_service_pb2 as _tensor_service_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class LabelScoring(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LABEL_SCORING_UNSPECIFIED: _ClassVar[LabelScoring]
    LABEL_SCORING_SOFTMAX: _ClassVar[LabelScoring]
    LABEL_SCORING_SIGMOID: _ClassVar[LabelScoring]
    LABEL_SCORING_IDENTITY: _ClassVar[LabelScoring]

class FailureKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FAILURE_KIND_UNSPECIFIED: _ClassVar[FailureKind]
    FAILURE_KIND_INVALID: _ClassVar[FailureKind]
    FAILURE_KIND_NO_ROOM: _ClassVar[FailureKind]
    FAILURE_KIND_OUT_OF_MEMORY: _ClassVar[FailureKind]
    FAILURE_KIND_ENGINE: _ClassVar[FailureKind]
    FAILURE_KIND_CANCELLED: _ClassVar[FailureKind]
LABEL_SCORING_UNSPECIFIED: LabelScoring
LABEL_SCORING_SOFTMAX: LabelScoring
LABEL_SCORING_SIGMOID: LabelScoring
LABEL_SCORING_IDENTITY: LabelScoring
FAILURE_KIND_UNSPECIFIED: FailureKind
FAILURE_KIND_INVALID: FailureKind
FAILURE_KIND_NO_ROOM: FailureKind
FAILURE_KIND_OUT_OF_MEMORY: FailureKind
FAILURE_KIND_ENGINE: FailureKind
FAILURE_KIND_CANCELLED: FailureKind

class ServeRequest(_message.Message):
    __slots__ = ("hello", "submissions", "cancels")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    SUBMISSIONS_FIELD_NUMBER: _ClassVar[int]
    CANCELS_FIELD_NUMBER: _ClassVar[int]
    hello: FrontHello
    submissions: Submissions
    cancels: Cancels
    def __init__(self, hello: _Optional[_Union[FrontHello, _Mapping]] = ..., submissions: _Optional[_Union[Submissions, _Mapping]] = ..., cancels: _Optional[_Union[Cancels, _Mapping]] = ...) -> None: ...

class FrontHello(_message.Message):
    __slots__ = ("protocol_version",)
    PROTOCOL_VERSION_FIELD_NUMBER: _ClassVar[int]
    protocol_version: int
    def __init__(self, protocol_version: _Optional[int] = ...) -> None: ...

class Submissions(_message.Message):
    __slots__ = ("submissions",)
    SUBMISSIONS_FIELD_NUMBER: _ClassVar[int]
    submissions: _containers.RepeatedCompositeFieldContainer[Submission]
    def __init__(self, submissions: _Optional[_Iterable[_Union[Submission, _Mapping]]] = ...) -> None: ...

class Submission(_message.Message):
    __slots__ = ("id", "tokens", "tensors", "alone")
    ID_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    ALONE_FIELD_NUMBER: _ClassVar[int]
    id: int
    tokens: TokenInput
    tensors: TensorInput
    alone: bool
    def __init__(self, id: _Optional[int] = ..., tokens: _Optional[_Union[TokenInput, _Mapping]] = ..., tensors: _Optional[_Union[TensorInput, _Mapping]] = ..., alone: bool = ...) -> None: ...

class TokenInput(_message.Message):
    __slots__ = ("ids", "pair_start", "normalize")
    IDS_FIELD_NUMBER: _ClassVar[int]
    PAIR_START_FIELD_NUMBER: _ClassVar[int]
    NORMALIZE_FIELD_NUMBER: _ClassVar[int]
    ids: _containers.RepeatedScalarFieldContainer[int]
    pair_start: int
    normalize: bool
    def __init__(self, ids: _Optional[_Iterable[int]] = ..., pair_start: _Optional[int] = ..., normalize: bool = ...) -> None: ...

class TensorInput(_message.Message):
    __slots__ = ("inputs",)
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    inputs: _containers.RepeatedCompositeFieldContainer[_tensor_service_pb2.Tensor]
    def __init__(self, inputs: _Optional[_Iterable[_Union[_tensor_service_pb2.Tensor, _Mapping]]] = ...) -> None: ...

class Cancels(_message.Message):
    __slots__ = ("ids",)
    IDS_FIELD_NUMBER: _ClassVar[int]
    ids: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, ids: _Optional[_Iterable[int]] = ...) -> None: ...

class ServeResponse(_message.Message):
    __slots__ = ("epoch", "hello", "failure", "results", "heartbeat", "room")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    HELLO_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    ROOM_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    hello: WorkerHello
    failure: LoadFailure
    results: StepResults
    heartbeat: Heartbeat
    room: Room
    def __init__(self, epoch: _Optional[int] = ..., hello: _Optional[_Union[WorkerHello, _Mapping]] = ..., failure: _Optional[_Union[LoadFailure, _Mapping]] = ..., results: _Optional[_Union[StepResults, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ..., room: _Optional[_Union[Room, _Mapping]] = ...) -> None: ...

class WorkerHello(_message.Message):
    __slots__ = ("protocol_version", "task", "device", "dtype", "threads", "sequence_tokens", "batch_tokens", "vocabulary_size", "embedding_dimensions", "labels", "label_scoring", "inputs", "outputs", "start_seconds")
    class StartSecondsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    PROTOCOL_VERSION_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    THREADS_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_TOKENS_FIELD_NUMBER: _ClassVar[int]
    BATCH_TOKENS_FIELD_NUMBER: _ClassVar[int]
    VOCABULARY_SIZE_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_DIMENSIONS_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    LABEL_SCORING_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    START_SECONDS_FIELD_NUMBER: _ClassVar[int]
    protocol_version: int
    task: _model_service_pb2.Task
    device: str
    dtype: str
    threads: int
    sequence_tokens: int
    batch_tokens: int
    vocabulary_size: int
    embedding_dimensions: int
    labels: _containers.RepeatedScalarFieldContainer[str]
    label_scoring: LabelScoring
    inputs: _containers.RepeatedCompositeFieldContainer[_tensor_service_pb2.TensorSignature]
    outputs: _containers.RepeatedCompositeFieldContainer[_tensor_service_pb2.TensorSignature]
    start_seconds: _containers.ScalarMap[str, float]
    def __init__(self, protocol_version: _Optional[int] = ..., task: _Optional[_Union[_model_service_pb2.Task, str]] = ..., device: _Optional[str] = ..., dtype: _Optional[str] = ..., threads: _Optional[int] = ..., sequence_tokens: _Optional[int] = ..., batch_tokens: _Optional[int] = ..., vocabulary_size: _Optional[int] = ..., embedding_dimensions: _Optional[int] = ..., labels: _Optional[_Iterable[str]] = ..., label_scoring: _Optional[_Union[LabelScoring, str]] = ..., inputs: _Optional[_Iterable[_Union[_tensor_service_pb2.TensorSignature, _Mapping]]] = ..., outputs: _Optional[_Iterable[_Union[_tensor_service_pb2.TensorSignature, _Mapping]]] = ..., start_seconds: _Optional[_Mapping[str, float]] = ...) -> None: ...

class LoadFailure(_message.Message):
    __slots__ = ("message",)
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    message: str
    def __init__(self, message: _Optional[str] = ...) -> None: ...

class Room(_message.Message):
    __slots__ = ("submissions", "tokens")
    SUBMISSIONS_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    submissions: int
    tokens: int
    def __init__(self, submissions: _Optional[int] = ..., tokens: _Optional[int] = ...) -> None: ...

class StepResults(_message.Message):
    __slots__ = ("step", "compute_seconds", "batch_size", "batch_tokens", "results")
    STEP_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    BATCH_TOKENS_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    step: int
    compute_seconds: float
    batch_size: int
    batch_tokens: int
    results: _containers.RepeatedCompositeFieldContainer[Result]
    def __init__(self, step: _Optional[int] = ..., compute_seconds: _Optional[float] = ..., batch_size: _Optional[int] = ..., batch_tokens: _Optional[int] = ..., results: _Optional[_Iterable[_Union[Result, _Mapping]]] = ...) -> None: ...

class Result(_message.Message):
    __slots__ = ("id", "wait_seconds", "outputs", "failure")
    ID_FIELD_NUMBER: _ClassVar[int]
    WAIT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    id: int
    wait_seconds: float
    outputs: Outputs
    failure: Failure
    def __init__(self, id: _Optional[int] = ..., wait_seconds: _Optional[float] = ..., outputs: _Optional[_Union[Outputs, _Mapping]] = ..., failure: _Optional[_Union[Failure, _Mapping]] = ...) -> None: ...

class Outputs(_message.Message):
    __slots__ = ("tensors",)
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    tensors: _containers.RepeatedCompositeFieldContainer[_tensor_service_pb2.Tensor]
    def __init__(self, tensors: _Optional[_Iterable[_Union[_tensor_service_pb2.Tensor, _Mapping]]] = ...) -> None: ...

class Failure(_message.Message):
    __slots__ = ("kind", "message")
    KIND_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    kind: FailureKind
    message: str
    def __init__(self, kind: _Optional[_Union[FailureKind, str]] = ..., message: _Optional[str] = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ("steps", "step_seconds")
    STEPS_FIELD_NUMBER: _ClassVar[int]
    STEP_SECONDS_FIELD_NUMBER: _ClassVar[int]
    steps: int
    step_seconds: float
    def __init__(self, steps: _Optional[int] = ..., step_seconds: _Optional[float] = ...) -> None: ...
