"""Many texts through one stream: written ahead, answered in any order, given back in order.

It holds at most `window` batches, whatever the length of the input, and it does not know what a batch holds. A stream
that breaks, as when a server restarts, is opened again and what had no answer is sent again.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from grpc import StatusCode

from loquor._errors import DeadlineExceeded, Internal, LoquorError, ResourceExhausted, Unavailable, from_code
from loquor._retry import Retry
from loquor._transport import Stream
from loquor.v1.language_service_pb2 import EmbedRequest, EmbedResponse, EmbedStreamRequest, EmbedStreamResponse

_MAY_HELP = (StatusCode.UNAVAILABLE.value[0], StatusCode.RESOURCE_EXHAUSTED.value[0])


@dataclass(slots=True)
class _Batch:
    request: EmbedStreamRequest
    response: EmbedResponse | None = None
    failures: int = 0


@dataclass(frozen=True, slots=True)
class BulkSettings:
    """A stream lives `deadline_seconds` and takes nothing new after that, then its last answers may take as long again.

    So the deadline of a stream is twice that, and a bulk of hours moves on to another server every now and then.
    """

    window: int
    deadline_seconds: float
    retry: Retry | None
    request_id: str


class Bulk:
    """One bulk. Iterate `responses` once."""

    def __init__(
        self,
        requests: Iterator[EmbedRequest],
        settings: BulkSettings,
        open_stream: Callable[[float], Stream[EmbedStreamRequest, EmbedStreamResponse]],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._requests = requests
        self._settings = settings
        self._open_stream = open_stream
        self._sleep = sleep
        self._batches: dict[str, _Batch] = {}  # written and not given back, in order
        self._written = 0
        self._exhausted = False
        self._failures = 0  # of streams, in a row
        self._open()

    async def responses(self) -> AsyncIterator[EmbedResponse]:
        """In the order of the requests. Raises the `LoquorError` of the first one that failed."""
        try:
            while True:
                await self._renew()
                self._fill()
                if not self._batches:
                    break
                while (response := self._take_first()) is None:
                    await self._receive()
                yield response
            await self._finish()
        finally:
            self._stream.cancel()

    def _open(self) -> None:
        self._stream = self._open_stream(2 * self._settings.deadline_seconds)
        self._opened = time.monotonic()
        self._waited = 0.0

    def _is_old(self) -> bool:
        return time.monotonic() - self._opened >= self._settings.deadline_seconds

    async def _renew(self) -> None:
        if self._is_old() and not self._batches:
            await self._finish()
            self._open()

    def _fill(self) -> None:
        while len(self._batches) < self._settings.window and not self._exhausted and not self._is_old():
            request = next(self._requests, None)
            if request is None:
                self._exhausted = True
            else:
                self._write_new(request)

    def _write_new(self, request: EmbedRequest) -> None:
        message = EmbedStreamRequest(id=str(self._written), request=request)
        self._written += 1
        self._batches[message.id] = _Batch(message)
        self._stream.write(message)

    def _take_first(self) -> EmbedResponse | None:
        name, batch = next(iter(self._batches.items()))
        if batch.response is not None:
            del self._batches[name]
        return batch.response

    async def _receive(self) -> None:
        """Takes one answer, of whichever batch."""
        try:
            answer = await self._read()
        except (Unavailable, ResourceExhausted) as error:
            await self._resume(error)
        except DeadlineExceeded as error:
            # Where the caller took its time between two answers, the stream has aged, and the server is not to blame.
            if self._waited >= self._settings.deadline_seconds:
                raise
            await self._resume(error)
        else:
            await self._settle(answer)

    async def _read(self) -> EmbedStreamResponse:
        started = time.monotonic()
        try:
            answer = await self._stream.read()
        finally:
            self._waited += time.monotonic() - started
        if answer is None:
            raise Unavailable("the stream ended before its last answer", request_id=self._settings.request_id)
        self._waited = 0.0
        return answer

    async def _settle(self, answer: EmbedStreamResponse) -> None:
        batch = self._batches.get(answer.id)
        if batch is None or batch.response is not None:
            raise Internal("the server answered a request that was not asked", request_id=self._settings.request_id)
        self._failures = 0
        if answer.WhichOneof("outcome") == "response":
            batch.response = answer.response
        else:
            await self._rewrite(batch, answer.error.code, answer.error.message)

    async def _rewrite(self, batch: _Batch, code: int, message: str) -> None:
        """Sends one batch again, where that may help."""
        batch.failures += 1
        retry = self._settings.retry
        if code not in _MAY_HELP or retry is None or batch.failures >= retry.attempts:
            raise from_code(code, f"batch {batch.request.id}: {message}", self._settings.request_id)
        await self._sleep(retry.backoff_seconds(batch.failures))
        self._stream.write(batch.request)

    async def _resume(self, error: LoquorError) -> None:
        """Opens a new stream in place of a broken one and sends what had no answer."""
        self._failures += 1
        retry = self._settings.retry
        if retry is None or self._failures >= retry.attempts:
            raise error
        self._stream.cancel()
        await self._sleep(retry.backoff_seconds(self._failures))
        self._open()
        for batch in self._batches.values():
            if batch.response is None:
                self._stream.write(batch.request)

    async def _finish(self) -> None:
        """Lets the server end the stream, so that it is no cancelled call to it. Every answer is there already."""
        self._stream.done_writing()
        with suppress(LoquorError):
            await self._stream.read()
