"""What the loop asks of whoever decides what runs and runs it: one contract for batches and for generations."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from loquor.internal.v1 import replica_service_pb2 as wire
from loquor_worker.sequence import Sender

Item = TypeVar("Item")
Output = TypeVar("Output")


@dataclass(frozen=True, slots=True)
class Told:
    """A result, and whom it is for."""

    sender: Sender
    result: wire.Result


class Work(Protocol, Generic[Item, Output]):
    """Submissions that wait or run. An `Item` is one's share of a step, an `Output` what the engine made of it."""

    def __len__(self) -> int:
        """Submissions without an ending."""
        ...

    def admit(self, sender: Sender, submission: wire.Submission, at: float) -> None:
        """Take a submission that came at `at` on the clock of `time.monotonic`. Raises `InvalidSubmission`."""
        ...

    def cancel(self, sender: Sender, id: int) -> bool:
        """Take a submission out before the next step; whether there was one to take out."""
        ...

    def forget(self, sender: Sender) -> None:
        """Take out all that a sender left behind; nobody is told."""
        ...

    def delay_seconds(self, now: float) -> float:
        """How much longer to wait for a fuller step; 0 to schedule now."""
        ...

    def schedule(self, now: float) -> Sequence[Item]:
        """What runs next; empty if nothing waits."""
        ...

    def run(self, items: Sequence[Item]) -> Sequence[Output]:
        """Run some items of a step, or all. Raises as `Engine.step`."""
        ...

    def commit(self, items: Sequence[Item], outputs: "Sequence[Output | wire.Failure]", started: float) -> list[Told]:
        """Take in what a step that started at `started` made of all its items, and say what is to be sent."""
        ...

    def size(self, items: Sequence[Item]) -> tuple[int, int]:
        """Sequences (or rows) and tokens in a step."""
        ...

    def load(self) -> wire.Load | None:
        """What has been taken on, for the fronts' metrics; None where a step's size says it all."""
        ...

    def rest(self) -> None:
        """Nothing waits: a moment to check that nothing was left behind."""
        ...
