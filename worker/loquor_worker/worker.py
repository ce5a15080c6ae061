"""The loop of a worker: drain the inbox, schedule, step, commit, send.

It runs in one thread, which owns the engine. Sockets are the link's, in another thread.
"""

import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Generic, Protocol

import structlog

from loquor.internal.v1 import replica_service_pb2 as wire
from loquor_worker.engines import DeviceFailed, InvalidSubmission, OutOfMemory
from loquor_worker.inbox import Arrived, Cancelled, Gone, Inbox, Stop
from loquor_worker.sequence import Sender
from loquor_worker.work import Item, Output, Told, Work

log = structlog.get_logger()


class Outbox(Protocol):
    """Where results go."""

    def send(self, sender: Sender, results: wire.StepResults) -> None: ...


class Progress:
    """How many steps the engine has made, and since when it has been in the present one. Read by the link's thread."""

    def __init__(self) -> None:
        self.steps = 0
        self.step_started_at: float | None = None

    def step_seconds(self) -> float:
        started = self.step_started_at
        return 0.0 if started is None else time.monotonic() - started


class Worker(Generic[Item, Output]):
    """One engine's work, a step at a time."""

    def __init__(self, work: Work[Item, Output], inbox: Inbox, outbox: Outbox, progress: Progress) -> None:
        self._work = work
        self._inbox = inbox
        self._outbox = outbox
        self._progress = progress
        self._stopping = False

    def run(self) -> None:
        """Until `Stop` has come and nothing waits. Raises `DeviceFailed` if the device is beyond use."""
        while not (self._stopping and not len(self._work)):
            self._drain_inbox()
            if self._waits_for_more():
                continue
            started = time.monotonic()
            items = self._work.schedule(started)
            if items:
                outputs = self._step(items)
                told = self._work.commit(items, outputs, started)
                self._send(items, told, time.monotonic() - started)

    def _waits_for_more(self) -> bool:
        return not self._stopping and self._work.delay_seconds(time.monotonic()) > 0

    # --- drain ---

    def _drain_inbox(self) -> None:
        for message in self._inbox.take(self._patience_seconds()):
            match message:
                case Arrived(sender, submissions, at):
                    self._admit(sender, submissions, at)
                case Cancelled(sender, ids):
                    self._cancel(sender, ids)
                case Gone(sender):
                    self._work.forget(sender)
                case Stop():
                    self._stopping = True

    def _patience_seconds(self) -> float | None:
        """How long to wait for a message: for ever, where there is nothing to do."""
        if len(self._work):
            return self._work.delay_seconds(time.monotonic())
        self._work.rest()
        return None

    def _admit(self, sender: Sender, submissions: list[wire.Submission], at: float) -> None:
        refused = []
        for submission in submissions:
            try:
                self._work.admit(sender, submission, at)
            except InvalidSubmission as error:
                refused.append(_failed(submission.id, wire.FAILURE_KIND_INVALID, str(error)))
        self._refuse(sender, refused)

    def _cancel(self, sender: Sender, ids: list[int]) -> None:
        cancelled = [id for id in ids if self._work.cancel(sender, id)]
        self._refuse(sender, [_failed(id, wire.FAILURE_KIND_CANCELLED, "") for id in cancelled])

    def _refuse(self, sender: Sender, results: list[wire.Result]) -> None:
        if results:
            load = self._work.load()
            self._outbox.send(sender, wire.StepResults(step=self._progress.steps, results=results, load=load))

    # --- step ---

    def _step(self, items: Sequence[Item]) -> "list[Output | wire.Failure]":
        self._progress.step_started_at = time.monotonic()
        try:
            return self._run(items)
        finally:
            self._progress.step_started_at = None
            self._progress.steps += 1

    def _run(self, items: Sequence[Item]) -> "list[Output | wire.Failure]":
        """Run items; if they fail, their halves, so that one never fails the others."""
        try:
            return list(self._work.run(items))
        except DeviceFailed:
            raise
        except OutOfMemory:
            failure = wire.Failure(kind=wire.FAILURE_KIND_OUT_OF_MEMORY)
        except Exception as error:
            log.error("engine failed", batch=len(items), error=type(error).__name__, exc_info=len(items) == 1)
            failure = wire.Failure(kind=wire.FAILURE_KIND_ENGINE)
        if len(items) == 1:
            return [failure]
        middle = len(items) // 2
        return self._run(items[:middle]) + self._run(items[middle:])

    # --- send ---

    def _send(self, items: Sequence[Item], told: list[Told], seconds: float) -> None:
        rows, tokens = self._work.size(items)
        by_sender: dict[Sender, list[wire.Result]] = defaultdict(list)
        for one in told:
            by_sender[one.sender].append(one.result)
        for sender, results in by_sender.items():
            self._outbox.send(
                sender,
                wire.StepResults(
                    step=self._progress.steps,
                    compute_seconds=seconds,
                    batch_size=rows,
                    batch_tokens=tokens,
                    results=results,
                    load=self._work.load(),
                ),
            )


def _failed(id: int, kind: wire.FailureKind, message: str) -> wire.Result:
    return wire.Result(id=id, failure=wire.Failure(kind=kind, message=message))
