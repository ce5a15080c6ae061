"""The two clients: the same calls, awaited or blocking.

The blocking client drives the coroutines of `Calls` by hand. Over its transport they never suspend, so one `send` runs
each to its end: no event loop, no thread, nothing generated.
"""

import functools
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, get_args

from loquor._calls import Calls
from loquor._channel import ChannelSettings
from loquor._connection import ClientState
from loquor._transport import AioTransport, BlockingTransport, Transport

P = ParamSpec("P")
T = TypeVar("T")


class AsyncClient(Calls):
    """A client for asyncio. Make one for each event loop, share it among tasks, and close it."""

    def _new_transport(self, settings: ChannelSettings) -> Transport:
        return AioTransport(settings)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class _BlockingCalls(Calls):
    def _new_transport(self, settings: ChannelSettings) -> Transport:
        return BlockingTransport(settings)


def _signature_of(
    init: Callable[Concatenate[Calls, P], None],
) -> Callable[[Callable[..., None]], Callable[Concatenate["Client", P], None]]:
    def decorated(method: Callable[..., None]) -> Callable[Concatenate["Client", P], None]:
        return functools.wraps(init)(method)

    return decorated


def _blocking(call: Callable[Concatenate[Calls, P], Coroutine[Any, Any, T]]) -> Callable[Concatenate["Client", P], T]:
    @functools.wraps(call)
    def method(self: "Client", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return _run(call(self._calls, *args, **kwargs))

    return method


def _iterating(
    call: Callable[Concatenate[Calls, P], AsyncIterator[T]],
) -> Callable[Concatenate["Client", P], Iterator[T]]:
    @functools.wraps(call)
    def method(self: "Client", /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        return _iterate(call(self._calls, *args, **kwargs))

    signature = inspect.signature(call)
    (item,) = get_args(signature.return_annotation)
    method.__signature__ = signature.replace(return_annotation=Iterator[item])  # type: ignore[attr-defined, valid-type]
    return method


def _run(coroutine: Coroutine[Any, Any, T]) -> T:
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    coroutine.close()
    raise AssertionError("a call of the blocking client waited for an event loop")


def _iterate(items: AsyncIterator[T]) -> Iterator[T]:
    try:
        while True:
            try:
                item = _run(_next(items))
            except StopAsyncIteration:
                return
            yield item
    finally:
        if isinstance(items, AsyncGenerator):
            _run(_close(items))


async def _next(items: AsyncIterator[T]) -> T:
    return await anext(items)


async def _close(items: AsyncGenerator[Any, None]) -> None:
    await items.aclose()


class Client:
    """A client that blocks. Share it among threads, and close it."""

    @_signature_of(Calls.__init__)
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._calls = _BlockingCalls(*args, **kwargs)

    @property
    def state(self) -> ClientState:
        return self._calls.state

    embed = _blocking(Calls.embed)
    embed_many = _iterating(Calls.embed_many)
    classify = _blocking(Calls.classify)
    tag_tokens = _blocking(Calls.tag_tokens)
    tokenize = _blocking(Calls.tokenize)
    detokenize = _blocking(Calls.detokenize)
    infer = _blocking(Calls.infer)
    list_models = _blocking(Calls.list_models)
    get_model = _blocking(Calls.get_model)
    load_model = _blocking(Calls.load_model)
    unload_model = _blocking(Calls.unload_model)
    health = _blocking(Calls.health)
    wait_ready = _blocking(Calls.wait_ready)
    close = _blocking(Calls.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
