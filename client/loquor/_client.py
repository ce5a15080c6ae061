"""The two clients: the same calls, awaited or blocking.

The blocking client drives the coroutines of `Calls` by hand: no event loop, no thread, nothing generated.
"""

import functools
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator
from types import TracebackType
from typing import Any, Concatenate, Literal, ParamSpec, Self, TypeVar, Unpack, get_args, overload

from loquor._calls import Calls
from loquor._channel import ChannelSettings
from loquor._connection import ClientState
from loquor._driving import run
from loquor._generation import GenerateOptions, Generation, Messages
from loquor._stream import AsyncGenerationStream, GenerationStream, blocking
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
        return run(call(self._calls, *args, **kwargs))

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


def _streaming(
    call: Callable[Concatenate[Calls, P], AsyncGenerationStream],
) -> Callable[Concatenate["Client", P], GenerationStream]:
    @functools.wraps(call)
    def method(self: "Client", /, *args: P.args, **kwargs: P.kwargs) -> GenerationStream:
        return GenerationStream(call(self._calls, *args, **kwargs))

    method.__signature__ = inspect.signature(call).replace(return_annotation=GenerationStream)  # type: ignore[attr-defined]
    return method


def _iterate(items: AsyncIterator[T]) -> Iterator[T]:
    try:
        while True:
            try:
                item = run(_next(items))
            except StopAsyncIteration:
                return
            yield item
    finally:
        if isinstance(items, AsyncGenerator):
            run(_close(items))


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
    generate = _blocking(Calls.generate)
    stream = _streaming(Calls.stream)
    list_models = _blocking(Calls.list_models)
    get_model = _blocking(Calls.get_model)
    load_model = _blocking(Calls.load_model)
    unload_model = _blocking(Calls.unload_model)
    health = _blocking(Calls.health)
    wait_ready = _blocking(Calls.wait_ready)
    close = _blocking(Calls.close)

    @overload
    def chat(
        self,
        model: str,
        messages: Messages,
        *,
        stream: Literal[False] = False,
        template: str | None = None,
        continue_last_message: bool = False,
        **options: Unpack[GenerateOptions],
    ) -> Generation: ...
    @overload
    def chat(
        self,
        model: str,
        messages: Messages,
        *,
        stream: Literal[True],
        template: str | None = None,
        continue_last_message: bool = False,
        **options: Unpack[GenerateOptions],
    ) -> GenerationStream: ...
    @functools.wraps(Calls.chat)
    def chat(self, *args: Any, **kwargs: Any) -> Generation | GenerationStream:
        answer: Generation | GenerationStream = blocking(self._calls.chat(*args, **kwargs))
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
