"""Between gRPC's handlers and our behaviours: bytes to messages, deadlines to a `Caller`, errors to statuses.

Every method of every service passes through here, so what a caller sees of a failure is decided in one place. Messages
are parsed by hand, since gRPC would answer malformed ones with UNKNOWN and the name of a class.
"""

import asyncio
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Protocol, TypeAlias, TypeVar

import grpc
import structlog
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

from loquor.internal import logs
from loquor_server import errors
from loquor_server.caller import Caller, new_request_id, read_caller

log = structlog.get_logger()

Request = TypeVar("Request", bound=Message)
Context: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"
Handler: TypeAlias = "grpc.RpcMethodHandler[bytes, bytes]"
Unary = Callable[[Request, Caller], Awaitable[Message]]
ServerStreaming = Callable[[Request, Caller], AsyncGenerator[Message, None]]
Streaming = Callable[[AsyncIterator[Request], Caller], AsyncGenerator[Message, None]]


class RpcObserver(Protocol):
    """Told of the end of every call. `model` is empty if the request named none that is known."""

    def knows(self, model: str) -> bool:
        """Whether this is a model's name. Any other text is the caller's own: it is neither counted nor logged."""
        ...

    def ended(self, method: str, model: str, code: grpc.StatusCode, seconds: float) -> None: ...


class Rpc:
    """Makes gRPC handlers of behaviours, and counts the calls under way.

    Once `drain` is called, new calls are refused with UNAVAILABLE and streams read no further.
    """

    def __init__(self, observer: RpcObserver, default_deadline_seconds: float) -> None:
        self.observer = observer
        self.under_way = 0
        self._default_deadline_seconds = default_deadline_seconds
        self._draining = asyncio.Event()

    def drain(self) -> None:
        self._draining.set()

    def check_serving(self) -> None:
        if self._draining.is_set():
            raise errors.Unavailable("the server is stopping")

    def unary(self, method: str, request_type: type[Request], behave: Unary[Request]) -> Handler:
        """A handler of `behave(request, caller)`, which returns the response or raises."""

        async def handle(data: bytes, context: Context) -> bytes:
            async with _Ending(self, method, context) as ending:
                ending.caller = caller = await self._caller(context)
                request = parse(request_type, data)
                ending.model = name if self.observer.knows(name := model_name(request)) else ""
                response = await behave(request, caller)
                return response.SerializeToString()
            raise AssertionError("an ending that swallowed a failure")

        return grpc.unary_unary_rpc_method_handler(handle)

    def streaming(
        self, method: str, request_type: type[Request], behave: Streaming[Request], *, deadline: bool = False
    ) -> Handler:
        """A handler of `behave(requests, caller)`, which yields responses. Without `deadline` the server sets none."""

        async def handle(data: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
            async with _Ending(self, method, context) as ending:
                ending.caller = caller = await self._caller(context, unlimited=not deadline)
                requests = self._messages(request_type, data)
                # Closed here, before the call ends: by the garbage collector it would be some time after.
                async with aclosing(behave(requests, caller)) as responses:
                    async for response in responses:
                        yield response.SerializeToString()

        return grpc.stream_stream_rpc_method_handler(handle)

    def server_streaming(self, method: str, request_type: type[Request], behave: ServerStreaming[Request]) -> Handler:
        """A handler of `behave(request, caller)`, which yields responses."""

        async def handle(data: bytes, context: Context) -> AsyncIterator[bytes]:
            async with _Ending(self, method, context) as ending:
                ending.caller = caller = await self._caller(context)
                request = parse(request_type, data)
                ending.model = name if self.observer.knows(name := model_name(request)) else ""
                async with aclosing(behave(request, caller)) as responses:
                    async for response in responses:
                        yield response.SerializeToString()

        return grpc.unary_stream_rpc_method_handler(handle)

    async def _messages(self, request_type: type[Request], data: AsyncIterator[bytes]) -> AsyncIterator[Request]:
        """The messages of a stream, parsed. Raises `Unavailable` when the server drains."""
        draining = asyncio.create_task(self._draining.wait())
        reading = asyncio.create_task(_next(data))
        try:
            while True:
                await asyncio.wait({reading, draining}, return_when=asyncio.FIRST_COMPLETED)
                self.check_serving()
                message = reading.result()
                if message is None:
                    return
                yield parse(request_type, message)
                reading = asyncio.create_task(_next(data))
        finally:
            draining.cancel()
            reading.cancel()

    async def _caller(self, context: Context, *, unlimited: bool = False) -> Caller:
        self.check_serving()
        seconds_left = context.time_remaining()
        if seconds_left is None and not unlimited:
            seconds_left = self._default_deadline_seconds
        caller = read_caller(context.invocation_metadata() or (), seconds_left)
        # Set here, sent with the first message: one frame, not two.
        context.set_trailing_metadata((("x-request-id", caller.request_id),))
        return caller


class _Ending:
    """Gives a call its one ending: the status, the details, the log line and the metrics."""

    def __init__(self, rpc: Rpc, method: str, context: Context) -> None:
        self.caller: Caller | None = None
        self.model = ""
        self._rpc = rpc
        self._method = method
        self._context = context
        self._started = time.monotonic()

    async def __aenter__(self) -> "_Ending":
        self._rpc.under_way += 1
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._rpc.under_way -= 1
        request_id = self.caller.request_id if self.caller else new_request_id()
        code = _code_of(error)
        self._rpc.observer.ended(self._method, self.model, code, time.monotonic() - self._started)
        if error is None:
            if logs.writes("debug"):
                log.debug("call ended", method=self._method, model=self.model, request_id=request_id, code=code.name)
            return
        unexpected = code is grpc.StatusCode.INTERNAL
        level = log.error if unexpected else log.info
        trace_of = error if unexpected and not isinstance(error, errors.RequestError) else None
        level(
            "call failed",
            method=self._method,
            model=self.model,
            request_id=request_id,
            code=code.name,
            exc_info=trace_of,
        )
        if isinstance(error, asyncio.CancelledError | GeneratorExit | grpc.aio.AbortError):
            return
        failure = (
            error if isinstance(error, errors.RequestError) else errors.EngineFailed("internal error; see the log")
        )
        await self._context.abort(code, failure.message, failure_metadata(failure, request_id))


async def _next(data: AsyncIterator[bytes]) -> bytes | None:
    return await anext(data, None)


def parse(request_type: type[Request], data: bytes) -> Request:
    try:
        return request_type.FromString(data)
    except DecodeError:
        raise errors.InvalidArgument("request", f"is not a valid {request_type.DESCRIPTOR.full_name}") from None


def model_name(request: Message) -> str:
    """The model that a request names, whatever its protocol calls the field."""
    for field in ("model", "model_name", "name"):
        value = getattr(request, field, "")
        if isinstance(value, str) and value:
            return value
    return ""


def failure_metadata(failure: errors.RequestError, request_id: str) -> tuple[tuple[str, str | bytes], ...]:
    """Trailing metadata of a failure: the request id, and the `google.rpc` details that its kind has."""
    metadata: list[tuple[str, str | bytes]] = [("x-request-id", request_id)]
    details: list[Message] = []
    if failure.retry_after_seconds == math.inf:
        metadata.append(("grpc-retry-pushback-ms", "-1"))
    elif failure.retry_after_seconds is not None:
        milliseconds = max(1, round(failure.retry_after_seconds * 1000))
        metadata.append(("grpc-retry-pushback-ms", str(milliseconds)))
        delay = Duration(seconds=milliseconds // 1000, nanos=milliseconds % 1000 * 1_000_000)
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    if isinstance(failure, errors.InvalidArgument):
        violation = error_details_pb2.BadRequest.FieldViolation(field=failure.field, description=failure.message)
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if details:
        status = status_pb2.Status(code=failure.code.value[0], message=failure.message)
        for detail in details:
            packed = AnyMessage()
            packed.Pack(detail)
            status.details.append(packed)
        metadata.append(("grpc-status-details-bin", status.SerializeToString()))
    return tuple(metadata)


def _code_of(error: BaseException | None) -> grpc.StatusCode:
    if error is None:
        return grpc.StatusCode.OK
    if isinstance(error, errors.RequestError):
        return error.code
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        return grpc.StatusCode.CANCELLED
    return grpc.StatusCode.INTERNAL
