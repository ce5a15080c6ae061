"""One `EmbedStream`: requests read as fast as they can be embedded, answers sent as they are ready.

It reads on only while fewer than a bounded number are under way, so gRPC's flow control holds a fast sender back. Once
reading ends, by the client's half-close or by a bad message, what is under way is still answered.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Protocol

from loquor.v1 import language_service_pb2 as api
from loquor_server import errors
from loquor_server.caller import Caller

_MOST_ID_BYTES = 128
_MOST_UNDER_WAY = 64


class Embedder(Protocol):
    """Whoever answers one request."""

    async def embed(self, request: api.EmbedRequest, caller: Caller) -> api.EmbedResponse: ...


class EmbedStream:
    """Of one call."""

    def __init__(self, embedder: Embedder, requests: AsyncIterator[api.EmbedStreamRequest], caller: Caller) -> None:
        self._embedder = embedder
        self._requests = requests
        self._caller = caller
        self._ids: set[str] = set()
        self._under_way: set[asyncio.Task[api.EmbedStreamResponse]] = set()
        self._reading: asyncio.Task[api.EmbedStreamRequest] | None = None
        self._failure: errors.RequestError | None = None

    async def responses(self) -> AsyncIterator[api.EmbedStreamResponse]:
        """Until all is answered. Raises what ended the reading, if that was a failure."""
        self._read_on()
        while self._under_way or self._reading is not None:
            for response in await self._next_responses():
                yield response
        if self._failure is not None:
            raise self._failure

    def cancel(self) -> None:
        """Leave what is under way, when the caller has gone."""
        for task in self._under_way:
            task.cancel()
        if self._reading is not None:
            self._reading.cancel()

    async def _next_responses(self) -> list[api.EmbedStreamResponse]:
        reads = self._reading if len(self._under_way) < _MOST_UNDER_WAY else None
        awaited: set[asyncio.Task[object]] = {*self._under_way, *([reads] if reads else [])}
        done, _ = await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
        finished = [task for task in self._under_way if task in done]
        self._under_way.difference_update(finished)
        responses = [task.result() for task in finished]
        self._ids.difference_update(response.id for response in responses)
        if reads is not None and reads in done:
            self._take(reads)
        return responses

    def _read_on(self) -> None:
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> api.EmbedStreamRequest:
        # A coroutine cannot raise StopAsyncIteration through a task: the end is a request without an id and a model.
        return await anext(self._requests, _END)

    def _take(self, read: "asyncio.Task[api.EmbedStreamRequest]") -> None:
        """Start what has been read and read on, unless that was the end."""
        self._reading = None
        try:
            request = read.result()
            if request is _END:
                return
            self._check_id(request.id)
        except errors.RequestError as error:
            self._failure = error
            return
        self._ids.add(request.id)
        self._under_way.add(asyncio.create_task(self._answer(request)))
        self._read_on()

    def _check_id(self, id: str) -> None:
        if len(id.encode()) > _MOST_ID_BYTES:
            raise errors.InvalidArgument("id", f"takes {_MOST_ID_BYTES} bytes at the most")
        if id in self._ids:
            raise errors.InvalidArgument("id", "is that of another request under way on this stream")

    async def _answer(self, request: api.EmbedStreamRequest) -> api.EmbedStreamResponse:
        while True:
            try:
                response = await self._embedder.embed(request.request, self._caller)
                return api.EmbedStreamResponse(id=request.id, response=response)
            except errors.Overloaded as overload:
                # The stream's promise: held back, never refused for load.
                await asyncio.sleep(min(overload.retry_after_seconds or 0.1, max(0.0, self._caller.seconds_left())))
            except errors.RequestError as error:
                failure = api.StreamError(code=error.code.value[0], message=error.message)
                return api.EmbedStreamResponse(id=request.id, error=failure)


_END = api.EmbedStreamRequest()
