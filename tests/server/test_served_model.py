"""Queue, router and replicas of one model, whatever the order of events: a request gets exactly one ending, its own."""

import asyncio
import functools
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from loquor.internal.protocol import PROTOCOL_VERSION
from loquor.internal.v1 import replica_service_pb2 as wire
from loquor_server import errors
from loquor_server.caller import Caller
from loquor_server.pending_request import Answer
from loquor_server.replica import Replica, ReplicaState
from loquor_server.repository import ModelFolder, ModelSettings
from loquor_server.served_model import ModelState, Part, ServedModel

ENDINGS = (errors.Overloaded, errors.Poisoned, errors.DeadlineExceeded, errors.InvalidArgument, errors.Unavailable)


class Observer:
    """Counts what it is told."""

    def __init__(self) -> None:
        self.answers = 0

    def stepped(self, *_: object) -> None: ...

    def answered(self, _: ServedModel, answers: Sequence[Answer]) -> None:
        self.answers += len(answers)

    def tokens_came(self, *_: object, first: bool) -> None: ...

    def generated(self, *_: object) -> None: ...

    def moved(self, _: ServedModel) -> None: ...


class Far:
    """The far end of a replica's stream, played by hand: what the worker was sent and has not answered."""

    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        self.held: list[wire.Submission] = []
        self.answered: list[wire.Submission] = []
        self.greet()

    def greet(self) -> None:
        if self.replica.state is ReplicaState.LOST:
            self.replica.move(ReplicaState.STARTING)
        hello = wire.WorkerHello(protocol_version=PROTOCOL_VERSION)
        self.replica._room = wire.Room(submissions=4, tokens=12)
        self.replica._take(wire.ServeResponse(hello=hello))

    def receive(self) -> None:
        """As the writer does: what was assigned, then what was cancelled."""
        messages = self.replica._outbox.take()
        self.held += [submission for message in messages for submission in message.submissions.submissions]
        cancels = [id for message in messages for id in message.cancels.ids]
        gone = [submission for submission in self.held if submission.id in cancels]
        for submission in gone:
            self.held.remove(submission)
        failures = [wire.Result(id=s.id, failure=wire.Failure(kind=wire.FAILURE_KIND_CANCELLED)) for s in gone]
        self.say(failures)

    def answer(self, submissions: Sequence[wire.Submission]) -> None:
        answers = []
        for submission in submissions:
            result = wire.Result(id=submission.id)
            result.outputs.tensors.add(data=repr(list(submission.tokens.ids)).encode())
            answers.append(result)
        self.answered += submissions
        self.say(answers)

    def say(self, results: Sequence[wire.Result]) -> None:
        step = wire.StepResults(step=1, batch_size=len(results), batch_tokens=len(results), results=results)
        self.replica._take(wire.ServeResponse(results=step))

    def die(self) -> None:
        self.held.clear()
        self.replica.move(ReplicaState.LOST)
        self.replica._lose_running(None)


class ModelMachine(RuleBasedStateMachine):
    """Requests carry their own number in their token ids, so an answer shows whose it is."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.observer = Observer()
        self.loop.run_until_complete(self._set_up())
        self.tasks: list[tuple[asyncio.Task[list[Answer]], list[list[int]]]] = []

    async def _set_up(self) -> None:
        model_settings = ModelSettings(replicas=2, max_queue_requests=20, max_queue_tokens=60)
        folder = ModelFolder("model", 1, Path("model"))
        self.model = ServedModel(folder, model_settings, None, self.observer, 10.0)
        self.fars = [Far(replica) for replica in self.model.replicas]
        self.model.move(ModelState.READY)

    def settle(self, act: Callable[[], None] = lambda: None) -> None:
        """Do this, and let everything come to rest that follows from it."""

        async def turns() -> None:
            act()
            for _ in range(16):
                await asyncio.sleep(0)

        self.loop.run_until_complete(turns())

    @rule(sizes=st.lists(st.integers(1, 6), min_size=1, max_size=5), priority=st.integers(1, 9), hasty=st.booleans())
    def ask(self, sizes: list[int], priority: int, hasty: bool) -> None:
        inputs = [[len(self.tasks), index, *range(size)] for index, size in enumerate(sizes)]
        parts = [Part(wire.Submission(tokens=wire.TokenInput(ids=ids)), 1, len(ids)) for ids in inputs]
        caller = Caller("test", time.monotonic() + 0.002 if hasty else math.inf, priority)
        self.tasks.append((self.loop.create_task(self.model.run(parts, caller)), inputs))
        self.settle()

    @rule(which=st.integers(0, 50))
    def cancel(self, which: int) -> None:
        if self.tasks:
            self.tasks[which % len(self.tasks)][0].cancel()
            self.settle()

    @rule()
    def pass_time(self) -> None:
        self.loop.run_until_complete(asyncio.sleep(0.004))

    @rule(which=st.integers(0, 1))
    def receive(self, which: int) -> None:
        self.settle(self.fars[which].receive)

    @rule(which=st.integers(0, 1), count=st.integers(1, 4), last_first=st.booleans())
    def step(self, which: int, count: int, last_first: bool) -> None:
        far = self.fars[which]
        batch = far.held[-count:] if last_first else far.held[:count]
        far.held = [submission for submission in far.held if submission not in batch]
        self.settle(lambda: far.answer(batch))

    # No precondition: what has been answered depends on the time, and which rules there are must not.
    @rule(which=st.integers(0, 1))
    def say_it_again(self, which: int) -> None:
        self.settle(lambda: self.fars[which].answer(self.fars[which].answered[-3:]))

    @rule(which=st.integers(0, 1))
    def lose(self, which: int) -> None:
        if self.fars[which].replica.state is ReplicaState.READY:
            self.settle(self.fars[which].die)

    @rule(which=st.integers(0, 1))
    def come_back(self, which: int) -> None:
        self.settle(self.fars[which].greet)

    @invariant()
    def the_counts_are_true(self) -> None:
        admission = self.model.admission
        assert 0 <= admission.requests <= 20
        assert 0 <= admission.tokens <= 60
        under_way = [inputs for task, inputs in self.tasks if not task.done()]
        assert admission.requests == sum(len(inputs) for inputs in under_way)
        for replica in self.model.replicas:
            assert replica.running.rows == len(replica.running)
            assert replica.running.tokens == sum(pending.tokens for pending in replica.running)

    def teardown(self) -> None:
        try:
            self.finish()
        finally:
            for task, _ in self.tasks:
                task.cancel()
            self.settle()
            self.loop.close()

    def finish(self) -> None:
        """Workers that do their work: everything must end."""
        rounds = 0
        while (rounds := rounds + 1) < 100 and not all(task.done() for task, _ in self.tasks):
            for far in self.fars:
                self.settle(far.greet)
                self.settle(far.receive)
                held, far.held = far.held, []
                self.settle(functools.partial(far.answer, held))
        self.pass_time()
        for task, inputs in self.tasks:
            self.check_ending(task, inputs)
        assert (self.model.admission.requests, self.model.admission.tokens) == (0, 0)
        assert self.model._queue.first() is None

    def check_ending(self, task: "asyncio.Task[list[Answer]]", inputs: list[list[int]]) -> None:
        assert task.done()
        if task.cancelled():
            return
        error: Any = task.exception()
        if error is None:
            assert [answer.tensors[0].data for answer in task.result()] == [repr(ids).encode() for ids in inputs]
        else:
            assert isinstance(error, ENDINGS)


TestModelMachine = ModelMachine.TestCase
TestModelMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
