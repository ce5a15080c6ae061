"""Whatever the order of steps, losses, cancels and readings: each text has one ending, its own tokens, and gives back
what it held, whether or not anybody reads it."""

import asyncio
import functools
import math
import time
from collections.abc import Callable

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from loquor.internal.v1 import replica_service_pb2 as wire
from loquor_server.caller import Caller
from loquor_server.replica import ReplicaState
from tests.server.generation_stage import MOST_REQUESTS, MOST_TOKENS, Reading, Stage


class StreamMachine(RuleBasedStateMachine):
    """Prompts hold numbers of their own, so tokens show whose they are."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.readings: list[Reading] = []
        self.loop.run_until_complete(self._set_up())

    async def _set_up(self) -> None:
        self.stage = Stage()

    def settle(self, act: Callable[[], None] = lambda: None) -> None:
        """Do this, and let everything come to rest that follows from it."""

        async def turns() -> None:
            act()
            await self.stage.settle()

        self.loop.run_until_complete(turns())

    @rule(
        sizes=st.lists(st.integers(1, 5), min_size=1, max_size=3),
        choices=st.integers(1, 3),
        most=st.integers(1, 12),
        priority=st.integers(1, 9),
        hasty=st.booleans(),
        reads=st.booleans(),
    )
    def ask(self, sizes: list[int], choices: int, most: int, priority: int, hasty: bool, reads: bool) -> None:
        number = len(self.readings) % 200
        prompts = [[number, index, *range(size)] for index, size in enumerate(sizes)]
        caller = Caller("test", time.monotonic() + 0.002 if hasty else math.inf, priority)

        def start() -> None:
            self.readings.append(Reading(self.stage, prompts, choices, most, caller))
            if reads:
                self.readings[-1].gate.set()

        self.settle(start)

    @rule(which=st.integers(0, 50))
    def cancel(self, which: int) -> None:
        if self.readings:
            self.readings[which % len(self.readings)].task.cancel()
            self.settle()

    @rule(which=st.integers(0, 50))
    def read_on(self, which: int) -> None:
        if self.readings:
            self.settle(self.readings[which % len(self.readings)].gate.set)

    @rule()
    def pass_time(self) -> None:
        self.loop.run_until_complete(asyncio.sleep(0.004))

    @rule(which=st.integers(0, 1))
    def receive(self, which: int) -> None:
        self.settle(self.stage.fars[which].receive)

    @rule(which=st.integers(0, 1), count=st.integers(1, 4), tokens=st.integers(1, 3), last_first=st.booleans())
    def step(self, which: int, count: int, tokens: int, last_first: bool) -> None:
        far = self.stage.fars[which]
        held = list(far.held)
        batch = held[-count:] if last_first else held[:count]
        self.settle(lambda: far.step(batch, tokens))

    @rule(which=st.integers(0, 1), kind=st.sampled_from([wire.FAILURE_KIND_ENGINE, wire.FAILURE_KIND_CANCELLED]))
    def fail(self, which: int, kind: wire.FailureKind) -> None:
        far = self.stage.fars[which]
        self.settle(lambda: far.fail(list(far.held)[:1], kind))

    @rule(which=st.integers(0, 1))
    def speak_of_what_is_gone(self, which: int) -> None:
        far = self.stage.fars[which]
        tokens = wire.Tokens(ids=[1], logprobs=[wire.TokenLogprob()])
        self.settle(lambda: far.say([wire.Result(id=id, tokens=tokens) for id in far.gone[-3:]]))

    @rule(which=st.integers(0, 1))
    def lose(self, which: int) -> None:
        if self.stage.fars[which].replica.state is ReplicaState.READY:
            self.settle(self.stage.fars[which].die)

    @rule(which=st.integers(0, 1))
    def come_back(self, which: int) -> None:
        self.settle(self.stage.fars[which].greet)

    @invariant()
    def the_counts_are_true(self) -> None:
        admission = self.stage.model.admission
        assert 0 <= admission.requests <= MOST_REQUESTS
        assert 0 <= admission.tokens <= MOST_TOKENS
        for replica in self.stage.model.replicas:
            running = replica.running
            assert running.rows == len(running)
            assert running.tokens == sum(pending.tokens for pending in running)
            silent = [pending for pending in running if not pending.heard]
            assert running.silent == len(silent)
            assert running.alone == any(pending.submission.alone for pending in silent)
            assert not running.alone or len(silent) == 1

    def teardown(self) -> None:
        try:
            self.finish()
        finally:
            for reading in self.readings:
                reading.task.cancel()
            self.settle()
            self.loop.close()

    def finish(self) -> None:
        """Workers that do their work: all that was held is given back though some do not read, and then all ends."""
        replicas = self.stage.model.replicas
        self._work_until(lambda: not self.stage.model.admission.requests)
        assert (self.stage.model.admission.requests, self.stage.model.admission.tokens) == (0, 0)
        assert self.stage.model._users == 0
        for reading in self.readings:
            self.settle(reading.gate.set)
        self._work_until(lambda: all(reading.task.done() for reading in self.readings))
        self._work_until(lambda: not any(replica.running for replica in replicas))
        for reading in self.readings:
            reading.check()
        assert self.stage.model._queue.first() is None
        assert not any(replica.running for replica in replicas)

    def _work_until(self, done: Callable[[], bool]) -> None:
        rounds = 0
        while (rounds := rounds + 1) < 200 and not done():
            for far in self.stage.fars:
                self.settle(far.greet)
                self.settle(far.receive)
                self.settle(functools.partial(far.step_all))


TestStreamMachine = StreamMachine.TestCase
TestStreamMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
