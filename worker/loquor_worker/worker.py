"""The loop of a worker: drain the inbox, schedule, step, commit, send.

It runs in one thread, which owns the engine. Sockets are the link's, in another thread.
"""

import time
from collections import defaultdict
from typing import Protocol

import structlog

from loquor.internal.v1 import replica_service_pb2 as wire
from loquor_worker.engines import DeviceFailed, Engine, InvalidSubmission, OutOfMemory
from loquor_worker.inbox import Arrived, Cancelled, Gone, Inbox, Stop
from loquor_worker.scheduler import Scheduler
from loquor_worker.sequence import Sender, Sequence

log = structlog.get_logger()

Outcome = wire.Outputs | wire.Failure


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


class Worker:
    """One engine and what waits for it."""

    def __init__(self, engine: Engine, scheduler: Scheduler, inbox: Inbox, outbox: Outbox, progress: Progress) -> None:
        self._engine = engine
        self._scheduler = scheduler
        self._inbox = inbox
        self._outbox = outbox
        self._progress = progress
        self._stopping = False

    def run(self) -> None:
        """Until `Stop` has come and nothing waits. Raises `DeviceFailed` if the device is beyond use."""
        while not (self._stopping and not len(self._scheduler)):
            self._drain_inbox()
            if self._waits_for_more():
                continue
            batch = self._scheduler.schedule(time.monotonic())
            if batch:
                outcomes = self._step(batch)
                self._scheduler.finish(batch)
                self._send(batch, outcomes)

    def _waits_for_more(self) -> bool:
        return not self._stopping and self._scheduler.delay_seconds(time.monotonic()) > 0

    # --- drain ---

    def _drain_inbox(self) -> None:
        patience = self._scheduler.delay_seconds(time.monotonic()) if len(self._scheduler) else None
        for message in self._inbox.take(patience):
            match message:
                case Arrived(sender, submissions, at):
                    self._admit(sender, submissions, at)
                case Cancelled(sender, ids):
                    self._cancel(sender, ids)
                case Gone(sender):
                    self._scheduler.forget(sender)
                case Stop():
                    self._stopping = True

    def _admit(self, sender: Sender, submissions: list[wire.Submission], at: float) -> None:
        refused = []
        for submission in submissions:
            try:
                size = self._engine.size(submission)
            except InvalidSubmission as error:
                refused.append(_failed(submission.id, wire.FAILURE_KIND_INVALID, str(error)))
            else:
                self._scheduler.add(Sequence(sender, submission, size, at))
        self._refuse(sender, refused)

    def _cancel(self, sender: Sender, ids: list[int]) -> None:
        cancelled = [id for id in ids if self._scheduler.cancel(sender, id) is not None]
        self._refuse(sender, [_failed(id, wire.FAILURE_KIND_CANCELLED, "") for id in cancelled])

    def _refuse(self, sender: Sender, results: list[wire.Result]) -> None:
        if results:
            self._outbox.send(sender, wire.StepResults(step=self._progress.steps, results=results))

    # --- step ---

    def _step(self, batch: list[Sequence]) -> list[Outcome]:
        self._progress.step_started_at = time.monotonic()
        try:
            return self._run(batch)
        finally:
            self._progress.step_started_at = None
            self._progress.steps += 1

    def _run(self, batch: list[Sequence]) -> list[Outcome]:
        """Run a batch; if it fails, its halves, so that one member never fails the others."""
        try:
            return list(self._engine.step([sequence.submission for sequence in batch]))
        except DeviceFailed:
            raise
        except OutOfMemory:
            failure = wire.Failure(kind=wire.FAILURE_KIND_OUT_OF_MEMORY)
        except Exception as error:
            log.error("engine failed", batch=len(batch), error=type(error).__name__, exc_info=len(batch) == 1)
            failure = wire.Failure(kind=wire.FAILURE_KIND_ENGINE)
        if len(batch) == 1:
            return [failure]
        middle = len(batch) // 2
        return self._run(batch[:middle]) + self._run(batch[middle:])

    # --- send ---

    def _send(self, batch: list[Sequence], outcomes: list[Outcome]) -> None:
        started = batch[0].started_at
        seconds = time.monotonic() - started
        rows, tokens = sum(s.size.rows for s in batch), sum(s.size.tokens for s in batch)
        by_sender: dict[Sender, list[wire.Result]] = defaultdict(list)
        for sequence, outcome in zip(batch, outcomes, strict=True):
            result = wire.Result(id=sequence.submission.id, wait_seconds=started - sequence.arrived_at)
            if isinstance(outcome, wire.Outputs):
                result.outputs.CopyFrom(outcome)
            else:
                result.failure.CopyFrom(outcome)
            by_sender[sequence.sender].append(result)
        for sender, results in by_sender.items():
            self._outbox.send(
                sender,
                wire.StepResults(
                    step=self._progress.steps,
                    compute_seconds=seconds,
                    batch_size=rows,
                    batch_tokens=tokens,
                    results=results,
                ),
            )


def _failed(id: int, kind: wire.FailureKind, message: str) -> wire.Result:
    return wire.Result(id=id, failure=wire.Failure(kind=kind, message=message))
