"""The scheduler: order, budget, and under any sequence of events each submission leaves it exactly once."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from loquor.internal.v1.replica_service_pb2 import Submission
from loquor_worker.engines import Size
from loquor_worker.scheduler import Budget, Scheduler
from loquor_worker.sequence import Sequence, SequenceState


class Front:
    """A sender."""


FRONT = Front()


def sequence(id: int, tokens: int = 1, *, rows: int = 1, alone: bool = False, sender: Front = FRONT) -> Sequence:
    return Sequence(sender, Submission(id=id, alone=alone), Size(rows, tokens), arrived_at=float(id))


def scheduler(*sequences: Sequence, tokens: int = 10, rows: int = 100, delay: float = 0.0) -> Scheduler:
    made = Scheduler(Budget(tokens, rows, delay))
    for one in sequences:
        made.add(one)
    return made


def ids(batch: list[Sequence]) -> list[int]:
    return [one.submission.id for one in batch]


def test_first_come_first_served_as_far_as_the_tokens_go() -> None:
    made = scheduler(sequence(1, 4), sequence(2, 6), sequence(3, 1))
    assert ids(made.schedule(0.0)) == [1, 2]
    assert ids(made.schedule(0.0)) == [3]
    assert made.schedule(0.0) == []


def test_the_rows_are_a_limit_too() -> None:
    made = scheduler(sequence(1, rows=3), sequence(2, rows=1), rows=3)
    assert ids(made.schedule(0.0)) == [1]
    assert ids(made.schedule(0.0)) == [2]


def test_one_that_is_larger_than_the_budget_goes_by_itself() -> None:
    made = scheduler(sequence(1, 50), sequence(2, 1))
    assert ids(made.schedule(0.0)) == [1]
    assert ids(made.schedule(0.0)) == [2]


def test_one_that_wants_to_be_alone_is_alone() -> None:
    made = scheduler(sequence(1), sequence(2, alone=True), sequence(3), sequence(4))
    assert [ids(made.schedule(0.0)) for _ in range(3)] == [[1], [2], [3, 4]]


def test_a_cancelled_one_is_passed_over_and_one_that_runs_is_not_cancelled() -> None:
    made = scheduler(sequence(1), sequence(2), sequence(3))
    assert made.cancel(FRONT, 2) is not None
    assert made.cancel(FRONT, 2) is None
    assert made.cancel(Front(), 1) is None
    assert ids(made.schedule(0.0)) == [1, 3]
    assert made.cancel(FRONT, 1) is None
    assert len(made) == 0


def test_what_a_front_left_behind_is_forgotten() -> None:
    other = Front()
    made = scheduler(sequence(1), sequence(1, sender=other), sequence(2))
    made.forget(FRONT)
    batch = made.schedule(0.0)
    assert [(one.sender, one.submission.id) for one in batch] == [(other, 1)]


def test_a_batch_waits_for_more_only_as_long_as_it_may() -> None:
    made = scheduler(delay=0.5)
    assert made.delay_seconds(0.0) == 0.0
    made.add(sequence(10, 4))
    assert made.delay_seconds(10.0) == 0.5
    assert made.delay_seconds(10.4) < 0.11
    assert made.delay_seconds(11.0) == 0.0
    made.add(sequence(11, 6))
    assert made.delay_seconds(10.0) == 0.0  # full
    made.cancel(FRONT, 11)
    assert made.delay_seconds(10.0) == 0.5


class SchedulerMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.fronts = [Front(), Front()]
        self.scheduler = Scheduler(Budget(10, 4))
        self.waiting: list[Sequence] = []
        self.left: set[int] = set()
        self.count = 0

    def leave(self, one: Sequence) -> None:
        assert id(one) not in self.left
        self.left.add(id(one))
        self.waiting.remove(one)

    @rule(front=st.integers(0, 1), tokens=st.integers(1, 12), rows=st.integers(1, 5), alone=st.booleans())
    def add(self, front: int, tokens: int, rows: int, alone: bool) -> None:
        self.count += 1
        one = sequence(self.count, tokens, rows=rows, alone=alone, sender=self.fronts[front])
        self.waiting.append(one)
        self.scheduler.add(one)

    @rule(which=st.integers(0, 100))
    def cancel(self, which: int) -> None:
        if self.waiting:
            one = self.waiting[which % len(self.waiting)]
            assert self.scheduler.cancel(one.sender, one.submission.id) is one
            assert one.state is SequenceState.FINISHED
            self.leave(one)

    @rule(front=st.integers(0, 1))
    def forget(self, front: int) -> None:
        self.scheduler.forget(self.fronts[front])
        for one in [one for one in self.waiting if one.sender is self.fronts[front]]:
            self.leave(one)

    @rule()
    def schedule(self) -> None:
        batch = self.scheduler.schedule(0.0)
        assert batch == self.waiting[: len(batch)]
        assert bool(batch) == bool(self.waiting)
        if len(batch) > 1:
            assert sum(one.size.tokens for one in batch) <= 10
            assert sum(one.size.rows for one in batch) <= 4
            assert not any(one.submission.alone for one in batch)
        for one in batch:
            assert one.state is SequenceState.RUNNING
            self.leave(one)
        self.scheduler.finish(batch)

    @invariant()
    def it_holds_what_waits(self) -> None:
        assert len(self.scheduler) == len(self.waiting)
        assert self.scheduler._waiting_tokens == sum(one.size.tokens for one in self.waiting)
        assert self.scheduler._waiting_rows == sum(one.size.rows for one in self.waiting)

    def teardown(self) -> None:
        while self.waiting:
            self.schedule()
        assert self.scheduler.schedule(0.0) == []


TestSchedulerMachine = SchedulerMachine.TestCase
TestSchedulerMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
