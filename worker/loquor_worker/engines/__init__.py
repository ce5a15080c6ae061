"""What every engine offers to the worker's loop, and nothing of how.

An engine owns one replica of one model on one device. It knows no sockets, no queue and no other request than those of
the batch it is given; it is called from one thread.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from loquor.internal.v1.replica_service_pb2 import Outputs, Submission, WorkerHello


class LoadError(Exception):
    """The model's files cannot be served. The text names the file and goes to the operator as it is."""


class InvalidSubmission(ValueError):
    """A submission that this engine cannot run. The text names the field and goes to the caller as it is."""


class OutOfMemory(RuntimeError):
    """The device has no memory for this batch; a smaller one may fit."""


class DeviceFailed(RuntimeError):
    """The device is beyond use for this process, as after an error of CUDA: the worker must be started again."""


@dataclass(frozen=True, slots=True)
class Size:
    """What a submission takes of a batch. For tensors, `tokens` counts rows too."""

    rows: int
    tokens: int


class Engine(Protocol):
    """One replica of one model."""

    @property
    def hello(self) -> WorkerHello:
        """What the model is and takes; `protocol_version` and `start_seconds` are left to the caller."""
        ...

    def size(self, submission: Submission) -> Size:
        """Check a submission and measure it. Raises `InvalidSubmission`."""
        ...

    def warm(self) -> None:
        """Run a few shapes, so that the first request is as fast as the next."""
        ...

    def step(self, batch: Sequence[Submission]) -> list[Outputs]:
        """Run one batch of checked submissions and return the outputs of each, in order.

        Raises `OutOfMemory` if the device is full and `DeviceFailed` if it is beyond use; any other exception means
        that nothing of the batch was computed.
        """
        ...
