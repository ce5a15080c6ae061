"""Loquor's client: texts in; vectors, labels and spans out, over gRPC.

    import loquor

    with loquor.Client("127.0.0.1:8001") as client:
        result = client.embed("minilm", ["The quick brown fox", "A lazy dog"])
        print(len(result[0]), "dimensions,", result.usage.prompt_tokens, "tokens")

`AsyncClient` has the same methods, awaited. Everything that a call can raise is a `LoquorError`.
"""

from loquor._channel import TLS
from loquor._client import AsyncClient, Client
from loquor._connection import ClientState
from loquor._errors import (
    Aborted,
    Cancelled,
    DeadlineExceeded,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    LoquorError,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
    Unimplemented,
)
from loquor._models import Health, Limits, Model, ModelState, Replica, ReplicaState, Task, TensorSignature
from loquor._retry import Retry
from loquor._tensors import DataType, InferResult, Tensor
from loquor._types import (
    Classification,
    ClassifyResult,
    DetokenizeResult,
    Embedding,
    EmbedResult,
    LabelScore,
    Span,
    TaggedText,
    TagTokensResult,
    Timings,
    Token,
    Tokenization,
    TokenizeResult,
    Usage,
)

__version__ = "0.1.0"

__all__ = [
    "TLS",
    "Aborted",
    "AsyncClient",
    "Cancelled",
    "Classification",
    "ClassifyResult",
    "Client",
    "ClientState",
    "DataType",
    "DeadlineExceeded",
    "DetokenizeResult",
    "EmbedResult",
    "Embedding",
    "FailedPrecondition",
    "Health",
    "InferResult",
    "Internal",
    "InvalidArgument",
    "LabelScore",
    "Limits",
    "LoquorError",
    "Model",
    "ModelState",
    "NotFound",
    "PermissionDenied",
    "Replica",
    "ReplicaState",
    "ResourceExhausted",
    "Retry",
    "Span",
    "TagTokensResult",
    "TaggedText",
    "Task",
    "Tensor",
    "TensorSignature",
    "Timings",
    "Token",
    "Tokenization",
    "TokenizeResult",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
    "Usage",
]
