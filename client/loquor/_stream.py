"""One generation as it is written: an iterator of its deltas that knows what came so far.

The blocking stream drives the awaiting one by hand, as `Client` does with the calls.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from enum import Enum
from types import TracebackType
from typing import Any, Self

from loquor._driving import run
from loquor._errors import Cancelled, LoquorError
from loquor._generation import FinishReason, Generation, GenerationDelta, GenerationTimings
from loquor._transcript import Transcript
from loquor._transport import Replies
from loquor._types import Usage
from loquor.v1.language_service_pb2 import GenerateResponse


class StreamState(Enum):
    """A stream is sent with its first delta asked for, and ends once.

    | from     | to        | by                                                    |
    |----------|-----------|-------------------------------------------------------|
    | UNOPENED | OPENED    | the first delta asked for                             |
    | UNOPENED | CANCELLED | `cancel`, `close`                                     |
    | OPENED   | CANCELLED | `cancel`, `close`, or an exception while it is waited |
    | OPENED   | ENDED     | its last event, or the server's error                 |
    """

    UNOPENED = "unopened"
    OPENED = "opened"
    CANCELLED = "cancelled"
    ENDED = "ended"


class _Written:
    """What both streams tell about the generation, at any time; `text` and the like are of choice 0."""

    _transcript: Transcript

    @property
    def generation(self) -> Generation:
        """All choices, as far as they have come."""
        return self._transcript.generation()

    @property
    def text(self) -> str:
        return self.generation.text

    @property
    def finish_reason(self) -> FinishReason:
        """UNSPECIFIED until it has ended."""
        return self.generation.finish_reason

    @property
    def stop(self) -> str | None:
        return self.generation.stop

    @property
    def usage(self) -> Usage:
        return self.generation.usage

    @property
    def timings(self) -> GenerationTimings:
        return self.generation.timings

    @property
    def request_id(self) -> str:
        return self.generation.request_id


class AsyncGenerationStream(_Written, AsyncIterator[GenerationDelta]):
    """Iterate it once; leaving it early, by `async with` or `cancel`, frees the server within one step.

    A failure raises the `LoquorError`, whose `partial` has what had come.
    """

    def __init__(self, transcript: Transcript, open_call: Callable[[], Replies[GenerateResponse]]) -> None:
        self._transcript = transcript
        self._open_call = open_call
        self._call: Replies[GenerateResponse] | None = None
        self._state = StreamState.UNOPENED

    @property
    def state(self) -> StreamState:
        return self._state

    async def __anext__(self) -> GenerationDelta:
        try:
            while (event := await self._read()) is not None:
                if (delta := self._transcript.take(event)) is not None:
                    return delta
        except LoquorError as error:
            self._fail(error)
        except BaseException:  # Ctrl-C, or a task that is cancelled: nobody waits for the rest
            self.cancel()
            raise
        raise StopAsyncIteration

    async def result(self) -> Generation:
        """The whole generation, once the rest of it has come."""
        async for _ in self:
            pass
        return self.generation

    def cancel(self) -> None:
        """Gives up what is still to come; the iteration ends. Does nothing where it has ended."""
        if self._move(StreamState.CANCELLED):
            self._transcript.cancel()
            if self._call is not None:
                self._call.cancel()

    async def close(self) -> None:
        self.cancel()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cancel()

    async def _read(self) -> GenerateResponse | None:
        if self._state is StreamState.UNOPENED:
            self._call = self._open_call()
            self._move(StreamState.OPENED)
        if self._call is None or self._state is not StreamState.OPENED:
            return None
        event = await self._call.read()
        if event is None and self._move(StreamState.ENDED):
            self._transcript.check_whole()
        return event

    def _fail(self, error: LoquorError) -> None:
        """Raises it, unless it is only what `cancel` has led to."""
        if isinstance(error, Cancelled) and self._state is StreamState.CANCELLED:
            return
        if self._move(StreamState.ENDED) and self._call is not None:
            self._call.cancel()
        error.partial = (self.generation,) if self._transcript.has_begun else ()
        raise error

    def _move(self, state: StreamState) -> bool:
        """The one place where the state changes. False where it has ended already."""
        if self._state in (StreamState.CANCELLED, StreamState.ENDED):
            return False
        self._state = state
        return True


class GenerationStream(_Written, Iterator[GenerationDelta]):
    """Iterate it once; leaving it early, by `with` or `cancel`, frees the server within one step.

    A failure raises the `LoquorError`, whose `partial` has what had come. `cancel` may be called by any thread.
    """

    def __init__(self, stream: AsyncGenerationStream) -> None:
        self._stream = stream
        self._transcript = stream._transcript  # noqa: SLF001 - the two are one thing

    @property
    def state(self) -> StreamState:
        return self._stream.state

    def __next__(self) -> GenerationDelta:
        try:
            return run(self._stream.__anext__())
        except StopAsyncIteration:
            raise StopIteration from None

    def result(self) -> Generation:
        """The whole generation, once the rest of it has come."""
        return run(self._stream.result())

    def cancel(self) -> None:
        """Gives up what is still to come; the iteration ends. Does nothing where it has ended."""
        self._stream.cancel()

    def close(self) -> None:
        self.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cancel()


def blocking(call: Any) -> Any:
    """What the blocking client gives for it: a stream that blocks, or a coroutine's result."""
    return GenerationStream(call) if isinstance(call, AsyncGenerationStream) else run(call)
