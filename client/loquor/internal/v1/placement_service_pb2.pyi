from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FollowRequest(_message.Message):
    __slots__ = ("front", "generation", "metrics")
    FRONT_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    front: int
    generation: int
    metrics: str
    def __init__(self, front: _Optional[int] = ..., generation: _Optional[int] = ..., metrics: _Optional[str] = ...) -> None: ...

class FollowResponse(_message.Message):
    __slots__ = ("generation", "models")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    generation: int
    models: _containers.RepeatedCompositeFieldContainer[PlacedModel]
    def __init__(self, generation: _Optional[int] = ..., models: _Optional[_Iterable[_Union[PlacedModel, _Mapping]]] = ...) -> None: ...

class PlacedModel(_message.Message):
    __slots__ = ("name", "version", "is_default", "settings", "workers")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    IS_DEFAULT_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    WORKERS_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    is_default: bool
    settings: str
    workers: _containers.RepeatedCompositeFieldContainer[PlacedWorker]
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ..., is_default: bool = ..., settings: _Optional[str] = ..., workers: _Optional[_Iterable[_Union[PlacedWorker, _Mapping]]] = ...) -> None: ...

class PlacedWorker(_message.Message):
    __slots__ = ("replica", "address", "epoch")
    REPLICA_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    replica: int
    address: str
    epoch: int
    def __init__(self, replica: _Optional[int] = ..., address: _Optional[str] = ..., epoch: _Optional[int] = ...) -> None: ...
