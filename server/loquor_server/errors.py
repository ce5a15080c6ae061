"""Everything that a request can be refused with, each class carrying its gRPC status.

    RequestError
    ├── InvalidArgument        INVALID_ARGUMENT      a field of the request; the message names it
    ├── ModelNotFound          NOT_FOUND             no such name or version in the repository
    ├── FailedPrecondition     FAILED_PRECONDITION   the model cannot do that, or its files are refused
    ├── Overloaded             RESOURCE_EXHAUSTED    the queue is full; carries when to try again
    ├── OutOfMemory            RESOURCE_EXHAUSTED    the request alone is too large for the device
    ├── SlowReader             RESOURCE_EXHAUSTED    a stream's caller does not read what is written for it
    ├── DeadlineExceeded       DEADLINE_EXCEEDED     the caller's deadline passed, or its `timeout`
    ├── Unavailable            UNAVAILABLE           no replica is ready, or the server drains: try again, elsewhere
    ├── Poisoned               ABORTED               workers died each time they ran this request
    ├── PermissionDenied       PERMISSION_DENIED     model control is off
    ├── Unimplemented          UNIMPLEMENTED         refused by decision
    └── EngineFailed           INTERNAL              a bug; the log has it under the request id

The texts are for the caller: they name fields, models and limits, never what was in a text.
"""

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from grpc import StatusCode


class RequestError(Exception):
    """A request that ends without an answer."""

    status = "INTERNAL"
    """The name of its code."""
    retry_after_seconds: float | None = None
    """When to try again; None leaves it to the caller, infinity says never."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    @property
    def code(self) -> "StatusCode":
        # Imported late: gRPC takes as long as all else that is there before the first worker is started.
        from grpc import StatusCode

        return StatusCode[self.status]


class InvalidArgument(RequestError):
    status = "INVALID_ARGUMENT"

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field


class ModelNotFound(RequestError):
    status = "NOT_FOUND"

    def __init__(self, name: str, version: int | None = None) -> None:
        shown = f"model {name[:128]!r}" if version is None else f"version {version} of model {name[:128]!r}"
        super().__init__(f"{shown} is not in the repository")


class FailedPrecondition(RequestError):
    status = "FAILED_PRECONDITION"


class Overloaded(RequestError):
    status = "RESOURCE_EXHAUSTED"

    def __init__(self, message: str, retry_after_seconds: float) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class OutOfMemory(RequestError):
    """The request alone is too large for the device: trying again does not help."""

    status = "RESOURCE_EXHAUSTED"
    retry_after_seconds = math.inf


class SlowReader(RequestError):
    """Trying again does not help a caller who does not read."""

    status = "RESOURCE_EXHAUSTED"
    retry_after_seconds = math.inf


class DeadlineExceeded(RequestError):
    status = "DEADLINE_EXCEEDED"


class Unavailable(RequestError):
    status = "UNAVAILABLE"


class Poisoned(RequestError):
    status = "ABORTED"


class PermissionDenied(RequestError):
    status = "PERMISSION_DENIED"


class Unimplemented(RequestError):
    status = "UNIMPLEMENTED"


class EngineFailed(RequestError):
    status = "INTERNAL"


class StartFailed(Exception):
    """The server cannot start. The text is one line for the operator."""
