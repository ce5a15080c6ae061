"""ModelStreamInfer: many requests on one stream, each answered once or many times, as its answers are ready.

A stream reads on only while fewer than a bounded number of its requests are under way, and takes answers from them only
while fewer than as many are unsent, so flow control holds a fast sender, or one that does not read, back. It knows
requests and responses, and not what runs them.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing

from loquor_server.caller import Caller
from loquor_server.errors import RequestError
from loquor_server.inference import open_inference_pb2 as oip

_MOST_UNDER_WAY = _MOST_UNSENT = 64

Infer = Callable[[oip.ModelInferRequest, Caller], AsyncGenerator[oip.ModelInferResponse, None]]


class InferStream:
    """One call of ModelStreamInfer. `infer` yields the responses to one request.

    A request that fails is answered with an error message, and the stream stays open; with `status_errors` it ends the
    stream with its status.
    """

    def __init__(self, infer: Infer, *, status_errors: bool) -> None:
        self._infer = infer
        self._status_errors = status_errors
        self._slots = asyncio.Semaphore(_MOST_UNDER_WAY)
        self._under_way: set[asyncio.Task[None]] = set()
        self._unsent: asyncio.Queue[oip.ModelStreamInferResponse | Exception | None] = asyncio.Queue(_MOST_UNSENT)

    async def responses(
        self, requests: AsyncIterator[oip.ModelInferRequest], caller: Caller
    ) -> AsyncGenerator[oip.ModelStreamInferResponse, None]:
        """Leaving it by any door cancels every request of the stream that is not answered."""
        reader = asyncio.create_task(self._read(requests, caller))
        try:
            while (response := await self._unsent.get()) is not None:
                if isinstance(response, Exception):
                    raise response
                yield response
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
                task.add_done_callback(self._over)
        except Exception as error:  # malformed, or the server drains
            failure = error
        await asyncio.gather(*self._under_way, return_exceptions=True)
        await self._unsent.put(failure)

    def _over(self, task: "asyncio.Task[None]") -> None:
        self._under_way.discard(task)
        self._slots.release()

    async def _answer(self, request: oip.ModelInferRequest, caller: Caller) -> None:
        """All responses to one request, the last of which says how it failed if it did."""
        try:
            async with aclosing(self._infer(request, caller)) as responses:
                async for response in responses:
                    await self._unsent.put(oip.ModelStreamInferResponse(infer_response=response))
        except RequestError as error:
            await self._unsent.put(error if self._status_errors else failure_of(request, error.message))
        except Exception as failure:
            await self._unsent.put(failure)


def failure_of(request: oip.ModelInferRequest, message: str) -> oip.ModelStreamInferResponse:
    """With the id, so that the client knows which request it was."""
    failed = oip.ModelInferResponse(model_name=request.model_name, model_version=request.model_version, id=request.id)
    failed.parameters["triton_final_response"].bool_param = True
    return oip.ModelStreamInferResponse(error_message=message, infer_response=failed)
