"""Everything that a call can raise because of the server or the way to it, each class carrying its gRPC status.

    LoquorError                    any other status
    ├── InvalidArgument            INVALID_ARGUMENT      a value of the request; the message names the field
    ├── NotFound                   NOT_FOUND             no such model or version in the repository
    ├── FailedPrecondition         FAILED_PRECONDITION   the model cannot do that, or its files are refused
    ├── ResourceExhausted          RESOURCE_EXHAUSTED    the queue is full; `retry_after_seconds` says when to try again
    ├── DeadlineExceeded           DEADLINE_EXCEEDED     no answer within `deadline_seconds`
    ├── Unavailable                UNAVAILABLE           no server, or no replica: try again, here or elsewhere
    ├── Cancelled                  CANCELLED             the call was given up, as when the client is closed under it
    ├── Unauthenticated            UNAUTHENTICATED       no key, or an unknown one
    ├── PermissionDenied           PERMISSION_DENIED     the key does not allow it, or model control is off
    ├── Unimplemented              UNIMPLEMENTED         the server does not know the call
    ├── Aborted                    ABORTED               workers died each time they ran this request
    └── Internal                   INTERNAL              a bug of the server; its log has it under the request id

Misuse of the client itself (a closed client, a value of the wrong type) is no `LoquorError`: it raises `RuntimeError`,
`TypeError` or `ValueError`.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from grpc import StatusCode

if TYPE_CHECKING:
    from loquor._generation import Generation


class LoquorError(Exception):
    """A call that ended without an answer.

    `partial` is what a generation had written before: one for each prompt, and empty if nothing had come.
    """

    code: StatusCode = StatusCode.UNKNOWN
    partial: "tuple[Generation, ...]" = ()

    def __init__(self, message: str, *, request_id: str | None = None, code: StatusCode | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.request_id = request_id
        if code is not None:
            self.code = code

    def __str__(self) -> str:
        where = f" (request {self.request_id})" if self.request_id else ""
        return f"{self.code.name}: {self.message}{where}"


class InvalidArgument(LoquorError):
    """A value of the request is wrong. The message names the field. Trying again does not help."""

    code = StatusCode.INVALID_ARGUMENT


class NotFound(LoquorError):
    """The repository has no such model or version."""

    code = StatusCode.NOT_FOUND


class FailedPrecondition(LoquorError):
    """The model cannot do that, or its files are refused."""

    code = StatusCode.FAILED_PRECONDITION


class ResourceExhausted(LoquorError):
    """The queue is full, or a message is too large. `retry_after_seconds` is None where the server did not say."""

    code = StatusCode.RESOURCE_EXHAUSTED

    def __init__(
        self,
        message: str,
        *,
        request_id: str | None = None,
        code: StatusCode | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message, request_id=request_id, code=code)
        self.retry_after_seconds = retry_after_seconds


class DeadlineExceeded(LoquorError):
    """No answer came within the deadline."""

    code = StatusCode.DEADLINE_EXCEEDED


class Unavailable(LoquorError):
    """No server could be reached, or it has no replica for the model. Nothing was lost; trying again may help."""

    code = StatusCode.UNAVAILABLE


class Cancelled(LoquorError):
    """The call was given up before its answer."""

    code = StatusCode.CANCELLED


class Unauthenticated(LoquorError):
    """The server wants a key, or does not know this one."""

    code = StatusCode.UNAUTHENTICATED


class PermissionDenied(LoquorError):
    """The server does not let this caller do that."""

    code = StatusCode.PERMISSION_DENIED


class Unimplemented(LoquorError):
    """The server does not know the call."""

    code = StatusCode.UNIMPLEMENTED


class Aborted(LoquorError):
    """Workers died each time they ran this request. Do not try again."""

    code = StatusCode.ABORTED


class Internal(LoquorError):
    """A bug of the server. Its log has it under the request id."""

    code = StatusCode.INTERNAL


_CLASSES: dict[StatusCode, type[LoquorError]] = {cls.code: cls for cls in LoquorError.__subclasses__()}
_CODES: dict[int, StatusCode] = {code.value[0]: code for code in StatusCode}


def from_status(
    code: StatusCode, message: str, request_id: str | None = None, retry_after_seconds: float | None = None
) -> LoquorError:
    """The exception for a status, without raising it."""
    if code is StatusCode.RESOURCE_EXHAUSTED:
        return ResourceExhausted(message, request_id=request_id, retry_after_seconds=retry_after_seconds)
    return _CLASSES.get(code, LoquorError)(message, request_id=request_id, code=code)


def from_code(number: int, message: str, request_id: str | None = None) -> LoquorError:
    """The exception for a status code as it is numbered on the wire."""
    return from_status(_CODES.get(number, StatusCode.UNKNOWN), message, request_id)


def from_rpc_error(error: Any, request_id: str) -> LoquorError:
    """The one door: a `grpc.RpcError` of either stack becomes ours."""
    after = _retry_after_seconds(error.trailing_metadata() or ())
    return from_status(error.code(), error.details() or "no details given", request_id, after)


def _retry_after_seconds(trailers: Iterable[tuple[str, str | bytes]]) -> float | None:
    pushback = dict(trailers).get("grpc-retry-pushback-ms", "")
    return int(pushback) / 1000 if isinstance(pushback, str) and pushback.isdecimal() else None
