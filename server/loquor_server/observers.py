"""Tells several observers what happened to a model, a turn of the event loop later: no answer waits for the books."""

import asyncio
from collections.abc import Sequence

from loquor.internal.v1 import replica_service_pb2 as wire
from loquor.v1.generation_pb2 import GenerationFinished
from loquor_server.pending_request import Answer
from loquor_server.served_model import ModelObserver, ServedModel


class Observers:
    """A `ModelObserver` made of others, told in order."""

    def __init__(self, *observers: ModelObserver) -> None:
        self._observers = observers

    def stepped(self, model: ServedModel, results: wire.StepResults) -> None:
        for observer in self._observers:
            asyncio.get_running_loop().call_soon(observer.stepped, model, results)

    def answered(self, model: ServedModel, answers: Sequence[Answer]) -> None:
        for observer in self._observers:
            asyncio.get_running_loop().call_soon(observer.answered, model, answers)

    def tokens_came(self, model: ServedModel, count: int, seconds: float, *, first: bool) -> None:
        for observer in self._observers:
            observer.tokens_came(model, count, seconds, first=first)

    def generated(self, model: ServedModel, finished: GenerationFinished) -> None:
        for observer in self._observers:
            observer.generated(model, finished)

    def moved(self, model: ServedModel) -> None:
        for observer in self._observers:
            observer.moved(model)
