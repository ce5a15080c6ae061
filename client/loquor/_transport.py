"""The seam between the API and gRPC: one unary call, a stream of replies, a bidirectional stream, one pause.

There are two transports. `AioTransport` awaits. `BlockingTransport` blocks inside coroutines that never suspend, so
that whoever drives them needs no event loop and no thread. Neither knows what the messages mean.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Generic, Protocol, TypeVar

import grpc

from loquor._channel import ChannelSettings
from loquor._errors import Cancelled, from_rpc_error
from loquor._interrupts import held_interrupts

Request = TypeVar("Request")
Response = TypeVar("Response")
RequestIn = TypeVar("RequestIn", contravariant=True)
ResponseOut = TypeVar("ResponseOut", covariant=True)
Metadata = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Method(Generic[Request, Response]):
    """One RPC: its path, and how its messages become bytes and back."""

    path: str
    serialize: Callable[[Request], bytes]
    parse: Callable[[bytes], Response]


@dataclass(frozen=True, slots=True)
class CallContext:
    """What goes with a call beside its message."""

    deadline_seconds: float
    request_id: str
    metadata: Metadata


class Replies(Protocol[ResponseOut]):
    """The replies of a call under way."""

    async def read(self) -> ResponseOut | None:
        """The next response, or None at the end. Raises `LoquorError`."""
        ...

    def cancel(self) -> None:
        """Gives the call up; does nothing where it has ended."""
        ...


class Stream(Replies[ResponseOut], Protocol[RequestIn, ResponseOut]):
    """A bidirectional call under way."""

    def write(self, request: RequestIn, /) -> None:
        """Queues a request. Never waits, so a writer that is held back cannot stop the reading."""
        ...

    def done_writing(self) -> None: ...


class Transport(Protocol):
    """A channel, opened by the first call."""

    async def unary(self, method: Method[Request, Response], request: Request, context: CallContext) -> Response:
        """Raises `LoquorError`."""
        ...

    def server_stream(
        self, method: Method[Request, Response], request: Request, context: CallContext
    ) -> Replies[Response]: ...

    def stream(self, method: Method[Request, Response], context: CallContext) -> Stream[Request, Response]: ...

    async def sleep(self, seconds: float) -> None: ...

    def open(self) -> None: ...

    async def close(self) -> None:
        """Cancels what is under way."""
        ...


class BlockingTransport:
    """Over gRPC's blocking stack; may be used by several threads at once."""

    def __init__(self, settings: ChannelSettings) -> None:
        self._settings = settings

    def open(self) -> None:
        settings = self._settings
        if settings.tls is None:
            self._channel = grpc.insecure_channel(settings.target, settings.options)
        else:
            self._channel = grpc.secure_channel(settings.target, settings.tls.credentials(), settings.options)

    async def unary(self, method: Method[Request, Response], request: Request, context: CallContext) -> Response:
        call = self._channel.unary_unary(method.path, method.serialize, method.parse)
        with _translated(context.request_id):
            response: Response = call(request, timeout=context.deadline_seconds, metadata=context.metadata)
            return response

    def server_stream(
        self, method: Method[Request, Response], request: Request, context: CallContext
    ) -> Replies[Response]:
        call = self._channel.unary_stream(method.path, method.serialize, method.parse)
        with held_interrupts():
            replies = call(request, timeout=context.deadline_seconds, metadata=context.metadata)
        return _BlockingReplies(replies, context.request_id)

    def stream(self, method: Method[Request, Response], context: CallContext) -> Stream[Request, Response]:
        return _BlockingStream(self._channel, method, context)

    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251 - to block is what this transport is for

    async def close(self) -> None:
        self._channel.close()


class AioTransport:
    """Over `grpc.aio`; belongs to the event loop of its first call."""

    def __init__(self, settings: ChannelSettings) -> None:
        self._settings = settings

    def open(self) -> None:
        settings = self._settings
        self._loop = asyncio.get_running_loop()
        if settings.tls is None:
            self._channel = grpc.aio.insecure_channel(settings.target, settings.options)
        else:
            self._channel = grpc.aio.secure_channel(settings.target, settings.tls.credentials(), settings.options)

    async def unary(self, method: Method[Request, Response], request: Request, context: CallContext) -> Response:
        self._check_loop()
        call = self._channel.unary_unary(method.path, method.serialize, method.parse)
        with _translated(context.request_id):
            response: Response = await call(request, timeout=context.deadline_seconds, metadata=context.metadata)
            return response

    def server_stream(
        self, method: Method[Request, Response], request: Request, context: CallContext
    ) -> Replies[Response]:
        self._check_loop()
        call = self._channel.unary_stream(method.path, method.serialize, method.parse)
        replies = call(request, timeout=context.deadline_seconds, metadata=context.metadata)
        return _AioReplies(replies, context.request_id)

    def stream(self, method: Method[Request, Response], context: CallContext) -> Stream[Request, Response]:
        self._check_loop()
        return _AioStream(self._channel, method, context)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def close(self) -> None:
        self._check_loop()
        await self._channel.close()

    def _check_loop(self) -> None:
        if asyncio.get_running_loop() is not self._loop:
            raise RuntimeError("this AsyncClient belongs to the event loop of its first call; make one for each loop")


class _BlockingReplies(Generic[Response]):
    def __init__(self, call: Any, request_id: str) -> None:
        self._call = call
        self._request_id = request_id

    async def read(self) -> Response | None:
        with _translated(self._request_id):
            response: Response | None = next(self._call, None)
            return response

    def cancel(self) -> None:
        self._call.cancel()


class _BlockingStream(_BlockingReplies[Response], Generic[Request, Response]):
    def __init__(self, channel: Any, method: Method[Request, Response], context: CallContext) -> None:
        self._outbox: SimpleQueue[Request | None] = SimpleQueue()
        call = channel.stream_stream(method.path, method.serialize, method.parse)
        # gRPC's own thread takes the requests, as its flow control allows.
        requests = iter(self._outbox.get, None)
        with held_interrupts():
            replies = call(requests, timeout=context.deadline_seconds, metadata=context.metadata)
        super().__init__(replies, context.request_id)

    def write(self, request: Request, /) -> None:
        self._outbox.put(request)

    def done_writing(self) -> None:
        self._outbox.put(None)

    def cancel(self) -> None:
        super().cancel()
        self._outbox.put(None)  # lets gRPC's thread go


class _AioReplies(Generic[Response]):
    def __init__(self, call: Any, request_id: str) -> None:
        self._call = call
        self._request_id = request_id
        self._loop = asyncio.get_running_loop()

    async def read(self) -> Response | None:
        with _translated(self._request_id):
            response: Response = await self._call.read()
            return None if response is grpc.aio.EOF else response

    def cancel(self) -> None:
        self._call.cancel()

    def __del__(self) -> None:
        """Cancels what nobody can read any more, as the blocking stack does by itself."""
        if not self._call.done():
            with suppress(RuntimeError):  # the loop is closed, and the call with it
                self._loop.call_soon_threadsafe(self._call.cancel)


class _AioStream(_AioReplies[Response], Generic[Request, Response]):
    def __init__(self, channel: Any, method: Method[Request, Response], context: CallContext) -> None:
        self._outbox: asyncio.Queue[Request | None] = asyncio.Queue()
        call = channel.stream_stream(method.path, method.serialize, method.parse)
        replies = call(self._requests(), timeout=context.deadline_seconds, metadata=context.metadata)
        super().__init__(replies, context.request_id)

    async def _requests(self) -> AsyncIterator[Request]:
        while (request := await self._outbox.get()) is not None:
            yield request

    def write(self, request: Request, /) -> None:
        self._outbox.put_nowait(request)

    def done_writing(self) -> None:
        self._outbox.put_nowait(None)

    def cancel(self) -> None:
        super().cancel()
        self._outbox.put_nowait(None)


@contextmanager
def _translated(request_id: str) -> Any:
    try:
        yield
    except grpc.RpcError as error:
        raise from_rpc_error(error, request_id) from error
    except asyncio.CancelledError as error:
        # `grpc.aio` says so also when the channel is closed under a call, which is no cancel of the caller's task.
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise Cancelled("the client was closed during the call", request_id=request_id) from error
