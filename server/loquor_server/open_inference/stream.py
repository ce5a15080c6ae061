"""ModelStreamInfer: many requests on one stream, each answered as it is ready.

A stream reads on only while fewer than a bounded number of its requests are under way or unsent, so flow control holds
a fast sender, or one that does not read its answers, back. It knows requests and responses, and not what runs them.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

from loquor_server.caller import Caller
from loquor_server.errors import RequestError
from loquor_server.inference import open_inference_pb2 as oip

_MOST_UNDER_WAY = 64

Infer = Callable[[oip.ModelInferRequest, Caller], Awaitable[oip.ModelInferResponse]]


class InferStream:
    """One call of ModelStreamInfer.

    A request that fails is answered with an error message, and the stream stays open; with `status_errors` it ends the
    stream with its status.
    """

    def __init__(self, infer: Infer, *, status_errors: bool) -> None:
        self._infer = infer
        self._status_errors = status_errors
        self._slots = asyncio.Semaphore(_MOST_UNDER_WAY)
        self._under_way: set[asyncio.Task[None]] = set()
        self._done: asyncio.Queue[oip.ModelStreamInferResponse | Exception | None] = asyncio.Queue()

    async def responses(
        self, requests: AsyncIterator[oip.ModelInferRequest], caller: Caller
    ) -> AsyncGenerator[oip.ModelStreamInferResponse, None]:
        """Leaving it by any door cancels every request of the stream that is not answered."""
        reader = asyncio.create_task(self._read(requests, caller))
        try:
            while (done := await self._done.get()) is not None:
                if isinstance(done, Exception):
                    raise done
                yield done
                self._slots.release()
        finally:
            left = [reader, *self._under_way]
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    async def _read(self, requests: AsyncIterator[oip.ModelInferRequest], caller: Caller) -> None:
        """Start what comes, and end the stream once all that has been started is done."""
        failure: Exception | None = None
        try:
            async for request in requests:
                await self._slots.acquire()
                task = asyncio.create_task(self._answer(request, caller))
                self._under_way.add(task)
                task.add_done_callback(self._under_way.discard)
        except Exception as error:  # malformed, or the server drains
            failure = error
        await asyncio.gather(*self._under_way, return_exceptions=True)
        self._done.put_nowait(failure)

    async def _answer(self, request: oip.ModelInferRequest, caller: Caller) -> None:
        try:
            response = oip.ModelStreamInferResponse(infer_response=await self._infer(request, caller))
        except RequestError as error:
            if self._status_errors:
                self._done.put_nowait(error)
                return
            response = failure_of(request, error.message)
        except Exception as failure:
            self._done.put_nowait(failure)
            return
        # Every model gives one answer to a request, so each is the final one; Triton says so here in the same way.
        response.infer_response.parameters["triton_final_response"].bool_param = True
        self._done.put_nowait(response)


def failure_of(request: oip.ModelInferRequest, message: str) -> oip.ModelStreamInferResponse:
    """With the id, so that the client knows which request it was."""
    failed = oip.ModelInferResponse(model_name=request.model_name, model_version=request.model_version, id=request.id)
    return oip.ModelStreamInferResponse(error_message=message, infer_response=failed)
