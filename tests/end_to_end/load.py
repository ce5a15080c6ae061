"""Callers that ask without pause, each with texts of its own, and check that every answer is for the text they sent."""

import asyncio
import math
from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import Any

import grpc

from loquor.v1 import language_service_pb2 as api
from loquor.v1 import language_service_pb2_grpc

SENTENCE = "the quick brown fox jumps over a lazy dog while seven old wizards quietly mix strange potions"
WORDS = SENTENCE.split(" ")
TEXTS = [" ".join(WORDS[start : start + 1 + length]) for start in range(8) for length in range(8)]


def embedding_stub(channel: grpc.aio.Channel) -> Any:
    return language_service_pb2_grpc.LanguageServiceStub(channel)


def distance(left: Sequence[float], right: Sequence[float]) -> float:
    """The largest difference of two vectors' elements."""
    return max(abs(a - b) for a, b in zip(left, right, strict=True))


class Load:
    """`answers` and `failures` are counted as they come; a wrong answer is a failure."""

    def __init__(self, address: str, *, callers: int = 8, model: str = "minilm", seconds: float = 60.0) -> None:
        self.answers = 0
        self.failures: Counter[str] = Counter()
        self.versions: Counter[int] = Counter()
        self._address = address
        self._callers = callers
        self._model = model
        self._seconds = seconds
        self._stopping = False

    async def __aenter__(self) -> "Load":
        self._channel = grpc.aio.insecure_channel(self._address)
        self._stub = embedding_stub(self._channel)
        self._known = [list(await self._embed(text)) for text in TEXTS]
        self.versions.clear()
        self._tasks = [asyncio.create_task(self._ask(caller)) for caller in range(self._callers)]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping = True
        await asyncio.gather(*self._tasks)
        await self._channel.close()

    async def until_answers(self, more: int, seconds: float = 60.0) -> None:
        """Return once so many more answers have come."""
        wanted = self.answers + more
        async with asyncio.timeout(seconds):
            while self.answers < wanted:
                await asyncio.sleep(0.02)

    async def _ask(self, caller: int) -> None:
        index = caller
        while not self._stopping:
            index = (index + 7) % len(TEXTS)
            try:
                values = await self._embed(TEXTS[index])
            except grpc.aio.AioRpcError as error:
                self.failures[error.code().name] += 1
                await asyncio.sleep(0.05)
            else:
                self.answers += 1
                self.failures["WRONG"] += not distance(values, self._known[index]) < 1e-5

    async def _embed(self, text: str) -> Sequence[float]:
        response = await self._stub.Embed(api.EmbedRequest(model=self._model, texts=[text]), timeout=self._seconds)
        self.versions[response.version] += 1
        assert math.isclose(response.embeddings[0].tokens, response.usage.prompt_tokens)
        values: Sequence[float] = response.embeddings[0].values
        return values
