"""The rules of the scheduler, one by one: budget, chunks, turns, blocks, endings."""

from collections.abc import Sequence

import pytest

from loquor_worker.generation.block_pool import BlockPool, IntegrityError
from loquor_worker.generation.draft import PromptLookup
from loquor_worker.generation.limits import Limits
from loquor_worker.generation.params import SamplingParams
from loquor_worker.generation.progress import FinishReason, Progress
from loquor_worker.generation.scheduler import GenerationScheduler
from loquor_worker.generation.sequence import GenerationSequence, SequenceState
from loquor_worker.generation.step import Chunk, Failed, FailureKind, Produced, TokenLogprob
from tests.worker.generation.fake_engine import END, FakeEngine

FRONT = "front"
ENDLESS = SamplingParams(max_tokens=20, ignore_eos=True)


def sequence(
    id: int,
    prompt: int | list[int] = 1,
    params: SamplingParams = ENDLESS,
    *,
    priority: int = 5,
    salt: bytes = b"",
    at: float = 0.0,
) -> GenerationSequence:
    """A prompt of so many tokens, which is like no other; or this one."""
    tokens = [1000 * id + place for place in range(prompt)] if isinstance(prompt, int) else prompt.copy()
    return GenerationSequence(FRONT, id, len(tokens), tokens, params, priority, salt, arrived_at=at)


def scheduler(
    *sequences: GenerationSequence,
    step: int = 32,
    running: int = 8,
    blocks: int = 64,
    length: int = 64,
    lookup: PromptLookup | None = None,
) -> GenerationScheduler:
    """Over blocks of 4 tokens."""
    made = GenerationScheduler(BlockPool(blocks, 4), Limits(step, running, length), frozenset({END}), lookup)
    for one in sequences:
        made.add(one)
    return made


def ids(chunks: Sequence[Chunk]) -> list[int]:
    return [chunk.sequence.id for chunk in chunks]


def sizes(chunks: Sequence[Chunk]) -> dict[int, int]:
    """Tokens of each sequence."""
    return {chunk.sequence.id: len(chunk.tokens) for chunk in chunks}


def commit(made: GenerationScheduler, chunks: Sequence[Chunk], *produced: int) -> list[Progress]:
    """Each chunk that samples gives the next of these tokens, or a 5."""
    tokens = iter(produced)
    outcomes = [Produced([next(tokens, 5)] if chunk.samples else [], []) for chunk in chunks]
    progress = made.commit(chunks, outcomes)
    made.check_integrity()
    return progress


def step(made: GenerationScheduler, *produced: int, now: float = 0.0) -> list[Chunk]:
    chunks = made.schedule(now)
    commit(made, chunks, *produced)
    return chunks


# --- budget and chunks ---


def test_a_prompt_runs_whole_where_the_budget_reaches_and_then_decodes() -> None:
    one = sequence(1, 6)
    made = scheduler(one)
    [chunk] = made.schedule(3.0)
    assert (chunk.start, chunk.tokens, chunk.samples, chunk.drafts) == (0, one.tokens, True, 0)
    assert (one.state, one.started_at, len(one.blocks)) == (SequenceState.RUNNING, 3.0, 2)
    commit(made, [chunk], 7)
    assert one.tokens[-1] == 7
    [chunk] = made.schedule(4.0)
    assert (chunk.start, chunk.tokens, chunk.samples) == (6, [7], True)
    assert one.started_at == 3.0


def test_a_long_prompt_runs_in_chunks_of_which_only_the_last_samples() -> None:
    made = scheduler(sequence(1, 70), step=32, length=90)
    chunks = [step(made)[0] for _ in range(4)]
    assert [(chunk.start, len(chunk.tokens), chunk.samples) for chunk in chunks] == [
        (0, 32, False),
        (32, 32, False),
        (64, 6, True),
        (70, 1, True),
    ]


def test_prompts_run_beside_what_decodes() -> None:
    made = scheduler(sequence(1), sequence(2), step=10)
    step(made)
    made.add(sequence(3, 12))
    made.add(sequence(4, 9))
    assert sizes(step(made)) == {1: 1, 2: 1, 3: 8}
    assert sizes(step(made)) == {1: 1, 2: 1, 3: 4, 4: 4}
    assert sizes(step(made)) == {1: 1, 2: 1, 3: 1, 4: 5}


def test_a_chunk_that_did_not_sample_is_no_progress() -> None:
    made = scheduler(sequence(1, 10), step=8)
    assert commit(made, made.schedule(0.0)) == []
    assert [progress.new_ids for progress in commit(made, made.schedule(0.0), 4)] == [[4]]


def test_where_the_budget_is_less_than_what_decodes_they_take_turns() -> None:
    made = scheduler(*[sequence(id) for id in range(5)])
    step(made)
    served = []
    for _ in range(15):
        made._budget = 2
        served += ids(step(made))
    assert served == [*range(5)] * 6


def test_nobody_is_admitted_while_what_decodes_takes_the_budget() -> None:
    made = scheduler(*[sequence(id) for id in range(3)], step=2)
    assert [ids(step(made)) for _ in range(20)] == [[0, 1]] * 20
    assert ids(step(made)) == [2]


def test_what_decodes_leaves_a_quarter_to_prompts_under_way() -> None:
    made = scheduler(*[sequence(id) for id in range(8)], step=8, running=9)
    step(made)
    made.cancel(FRONT, 0)
    made.add(sequence(9, 20))
    assert sizes(step(made))[9] == 1
    made.add(sequence(10))
    assert [sizes(step(made))[9] for _ in range(3)] == [2, 2, 2]


def test_the_running_sequences_are_limited() -> None:
    made = scheduler(*[sequence(id) for id in range(4)], running=3)
    assert ids(step(made)) == [0, 1, 2]
    assert (made.running, made.waiting, len(made)) == (3, 1, 4)
    made.cancel(FRONT, 1)
    assert ids(step(made)) == [0, 2, 3]


# --- turns ---


def test_priorities_go_first_then_arrival() -> None:
    made = scheduler(sequence(1), sequence(2, priority=1), sequence(3), sequence(4, priority=9), running=1)
    order = []
    while len(made):
        [id] = ids(step(made))
        order.append(id)
        made.cancel(FRONT, id)
    assert order == [2, 1, 3, 4]


def test_a_level_of_priority_is_worth_ten_seconds_of_waiting() -> None:
    assert ids(step(scheduler(sequence(1, priority=6), sequence(2, priority=5, at=9.9), running=1))) == [2]
    assert ids(step(scheduler(sequence(1, priority=6), sequence(2, priority=5, at=10.1), running=1))) == [1]
    assert ids(step(scheduler(sequence(1, priority=9), sequence(2, priority=1, at=80.1), running=1))) == [1]


def test_the_first_in_turn_waits_for_blocks_and_is_not_overtaken() -> None:
    made = scheduler(sequence(1, 20), blocks=10, length=40)
    step(made)
    made.add(sequence(2, 20))
    made.add(sequence(3, 4))
    assert ids(step(made)) == [1]
    made.cancel(FRONT, 1)
    assert ids(step(made)) == [2, 3]


def test_a_block_is_left_for_each_that_runs_before_another_is_admitted() -> None:
    made = scheduler(sequence(1, 8), blocks=7, length=28)
    step(made)
    made.add(sequence(2, 16, SamplingParams(4)))
    assert ids(step(made)) == [1]
    made.cancel(FRONT, 2)
    made.add(sequence(3, 12, SamplingParams(4)))
    assert ids(step(made)) == [1, 3]


# --- the prefix cache ---


def test_what_was_computed_is_not_computed_again() -> None:
    made = scheduler(sequence(1, list(range(10))))
    step(made)
    made.cancel(FRONT, 1)
    two = sequence(2, [*range(8), 90, 91])
    made.add(two)
    [chunk] = made.schedule(0.0)
    assert (chunk.start, chunk.tokens) == (8, [90, 91])
    [progress] = commit(made, [chunk])
    assert progress.cached_prompt_tokens == 8
    [progress] = commit(made, made.schedule(0.0))
    assert progress.cached_prompt_tokens == 0


def test_blocks_are_shared_with_one_that_still_runs_and_holds_what_it_wrote() -> None:
    one = sequence(1, list(range(6)))
    made = scheduler(one)
    for _ in range(3):
        step(made, 9)
    two = sequence(2, [*range(6), 9, 9, 70])
    made.add(two)
    assert sizes(made.schedule(0.0))[2] == 1
    assert two.blocks[:2] == one.blocks[:2]


def test_other_salts_find_nothing() -> None:
    made = scheduler(sequence(1, list(range(10)), salt=b"one"))
    step(made)
    made.add(sequence(2, list(range(10)), salt=b"two"))
    assert sizes(step(made)) == {1: 1, 2: 10}


@pytest.mark.parametrize(("length", "start"), [(8, 4), (9, 8)])
def test_a_prompt_that_is_all_in_the_cache_still_computes_its_last_token(length: int, start: int) -> None:
    made = scheduler(sequence(1, list(range(9))))
    step(made)
    made.add(sequence(2, list(range(length))))
    chunk = made.schedule(0.0)[-1]
    assert (chunk.start, chunk.samples, len(chunk.tokens)) == (start, True, length - start)


def test_one_whose_prompt_is_being_computed_for_another_waits_for_it() -> None:
    prompt = list(range(40))
    made = scheduler(sequence(1, prompt), sequence(2, prompt), sequence(3, [*prompt, 90]), sequence(4, 3), step=30)
    assert sizes(step(made)) == {1: 30}
    assert sizes(step(made)) == {1: 10, 4: 3}
    assert sizes(step(made)) == {1: 1, 4: 1, 2: 4, 3: 1}


def test_it_does_not_wait_for_less_than_half() -> None:
    made = scheduler(sequence(1, list(range(8))), sequence(2, [*range(8), *range(90, 99)]))
    assert sizes(step(made)) == {1: 8, 2: 17}


def test_it_waits_no_longer_than_the_other_runs() -> None:
    prompt = list(range(12))
    made = scheduler(sequence(1, prompt), sequence(2, prompt), step=8)
    assert ids(made.schedule(0.0)) == [1]
    made.cancel(FRONT, 1)
    assert ids(step(made)) == [2]


def test_a_block_counts_again_once_the_twin_that_counted_for_it_is_gone() -> None:
    prompt = list(range(4))
    made = scheduler(sequence(1, prompt), two := sequence(2, prompt))
    assert sizes(step(made)) == {1: 4, 2: 4}
    for token in range(4):
        step(made, 50, 90 + token)
    made.cancel(FRONT, 1)
    made._pool.release([made._pool.allocate() for _ in range(made._pool.free)])
    made.cancel(FRONT, 2)
    made.add(sequence(3, two.tokens))
    assert sizes(step(made)) == {3: 1}


# --- preemption ---


def crowded() -> tuple[GenerationScheduler, GenerationSequence, GenerationSequence]:
    """Two that decode, with one free block between them; the less important one is served first."""
    first, second = sequence(1, 8, priority=4), sequence(2, 8)
    made = scheduler(second, first, blocks=7, length=28)
    step(made)
    made._running.reverse()
    for _ in range(3):
        step(made)
    assert (len(first.tokens), len(second.tokens)) == (12, 12)
    return made, first, second


def test_the_last_in_turn_gives_its_blocks_up_and_its_place_in_the_step() -> None:
    made, first, second = crowded()
    chunks = [step(made) for _ in range(2)][-1]
    assert ids(chunks) == [1]
    assert (second.state, second.blocks, second.computed, second.preemptions) == (SequenceState.WAITING, [], 0, 1)
    assert len(first.blocks) == 4
    assert (made.running, made.waiting) == (1, 1)


def test_one_that_lost_its_blocks_comes_back_cheaply_and_says_how_often_it_did() -> None:
    made, _, second = crowded()
    while made.running == 2:
        step(made)
    started = second.started_at
    made.cancel(FRONT, 1)
    chunks = made.schedule(9.0)
    assert [(chunk.start, len(chunk.tokens), chunk.samples) for chunk in chunks] == [
        (12, len(second.tokens) - 12, True)
    ]
    [progress] = commit(made, chunks)
    assert (progress.preemptions, second.preemptions, progress.cached_prompt_tokens) == (1, 0, 0)
    assert second.started_at == started


def test_one_by_itself_always_fits() -> None:
    one = sequence(1, 4)
    made = scheduler(one, blocks=6, length=24)
    while len(made):
        step(made)
    assert one.output_tokens == 20


def test_a_sequence_that_could_not_fit_is_refused_with_its_limits() -> None:
    with pytest.raises(ValueError, match="a sequence of 41 tokens does not fit into a pool of 40"):
        scheduler(blocks=10, length=41)
    with pytest.raises(ValueError, match="every limit is at least 1"):
        Limits(0, 1, 1)


def test_a_preempted_chunk_is_not_committed() -> None:
    one = sequence(1, 6)
    made = scheduler(one)
    chunks = made.schedule(0.0)
    made.preempt(one)
    assert commit(made, chunks, 7) == []
    assert (one.output_tokens, one.state) == (0, SequenceState.WAITING)
    with pytest.raises(RuntimeError, match="cannot move from waiting to waiting"):
        made.preempt(one)


def test_a_chunk_not_committed_is_scheduled_again() -> None:
    made = scheduler(sequence(1, 6), sequence(2, 6))
    chunks = made.schedule(0.0)
    commit(made, chunks[:1])
    assert sizes(step(made)) == {1: 1, 2: 6}


def test_a_chunk_is_committed_once() -> None:
    one = sequence(1, 6)
    made = scheduler(one)
    chunks = made.schedule(0.0)
    assert len(commit(made, chunks, 7)) == 1
    assert commit(made, chunks, 8) == []
    assert one.tokens[6:] == [7]


def test_a_step_that_did_not_fit_is_halved_and_grows_back() -> None:
    made = scheduler(sequence(1, 60), step=64, length=100)
    assert [sum(sizes(made.schedule(0.0)).values()) for _ in range(7) if made.shrink() or True] == [
        64 - 4,
        *[30, 15, 7, 3, 1, 1],
    ]
    assert not made.shrink()
    assert [sum(sizes(step(made)).values()) for _ in range(4)] == [1, 2, 3, 4]


# --- endings ---


def ending(params: SamplingParams, *produced: int) -> tuple[list[int], FinishReason | None]:
    """Written from a prompt of one token, by steps of one token; and how it ended."""
    one = sequence(1, 1, params)
    made = scheduler(one)
    for token in produced:
        [progress] = commit(made, made.schedule(0.0), token)
        if progress.is_last:
            assert (one.state, len(made), made._pool.used) == (SequenceState.FINISHED, 0, 0)
            return one.tokens[1:], progress.finish
    return one.tokens[1:], None


def test_the_models_end_token_ends_and_is_not_written() -> None:
    assert ending(SamplingParams(9), 4, END, 5) == ([4], FinishReason.STOP)
    assert ending(SamplingParams(9), END) == ([], FinishReason.STOP)
    assert ending(SamplingParams(9, ignore_eos=True), 4, END, 5) == ([4, END, 5], None)


def test_a_stop_token_ends_and_is_not_written() -> None:
    stop = SamplingParams(9, stop_token_ids=frozenset({7}), ignore_eos=True)
    assert ending(stop, 4, END, 7, 5) == ([4, END], FinishReason.STOP)


def test_nothing_stops_before_the_least_tokens() -> None:
    stop = SamplingParams(9, min_tokens=2, stop_token_ids=frozenset({7}))
    assert ending(stop, 7, END, END) == ([7, END], FinishReason.STOP)


def test_most_tokens_end_it() -> None:
    assert ending(SamplingParams(3), 4, 5, 6) == ([4, 5, 6], FinishReason.LENGTH)
    assert ending(SamplingParams(3), 4, 5, END) == ([4, 5], FinishReason.STOP)


def test_a_complete_structure_ends_it_with_its_last_token() -> None:
    made = scheduler(sequence(1, 1, SamplingParams(1)))
    [progress] = made.commit(made.schedule(0.0), [Produced([4], [], complete=True)])
    assert (progress.new_ids, progress.finish) == ([4], FinishReason.STOP)
    assert len(made) == 0


def test_a_failure_ends_one_and_no_other() -> None:
    made = scheduler(sequence(1), sequence(2))
    failed = Failed(FailureKind.ENGINE, "overflow")
    first, second = made.commit(made.schedule(0.0), [failed, Produced([5], [])])
    assert (first.failed, first.new_ids, first.finish, first.is_last) == (failed, [], None, True)
    assert (second.failed, second.new_ids, second.is_last) == (None, [5], False)
    assert ids(step(made)) == [2]


def test_log_probabilities_go_with_what_is_written() -> None:
    made = scheduler(sequence(1, 1, SamplingParams(9, logprobs=1)))
    given = TokenLogprob(-0.5, [4], [-0.5])
    assert made.commit(made.schedule(0.0), [Produced([4], [given])])[0].logprobs == [given]
    assert made.commit(made.schedule(0.0), [Produced([END], [given])])[0].logprobs == []


# --- guesses ---

REPEATED = [1, 2, 3, 4, 5, 6, 7, 8, 1, 2]


def guessing(params: SamplingParams = ENDLESS, **limits: int) -> tuple[GenerationScheduler, GenerationSequence]:
    """One that has written a 3, behind which its prompt says 4, 5, 6, 7."""
    one = sequence(1, REPEATED, params)
    made = scheduler(one, lookup=PromptLookup(2, 2, most_drafts=4), **limits)
    step(made, 3)
    return made, one


def test_guesses_go_behind_the_last_token() -> None:
    made, one = guessing()
    [chunk] = made.schedule(0.0)
    assert (chunk.start, chunk.tokens, chunk.drafts) == (10, [3, 4, 5, 6, 7], 4)
    assert len(one.blocks) * 4 >= 15


def test_guesses_that_prove_right_are_progress_and_the_rest_is_computed_anew() -> None:
    made, one = guessing()
    [progress] = made.commit(made.schedule(0.0), [Produced([4, 5, 9], [])])
    assert (progress.new_ids, progress.draft_tokens, progress.accepted_draft_tokens) == ([4, 5, 9], 4, 2)
    assert (one.computed, one.tokens[-3:]) == (13, [4, 5, 9])
    [chunk] = made.schedule(0.0)
    assert (chunk.start, chunk.tokens) == (13, [9])


@pytest.mark.parametrize(
    ("params", "written", "finish"),
    [
        (SamplingParams(20, stop_token_ids=frozenset({5})), [4], FinishReason.STOP),
        (SamplingParams(20, stop_token_ids=frozenset({4})), [], FinishReason.STOP),
        (SamplingParams(20, min_tokens=3, stop_token_ids=frozenset({4, 6})), [4, 5], FinishReason.STOP),
        (SamplingParams(5), [4, 5, 6, 7], FinishReason.LENGTH),
    ],
)
def test_what_follows_an_end_among_guesses_is_dropped(
    params: SamplingParams, written: list[int], finish: FinishReason
) -> None:
    made, one = guessing(params)
    chunks = made.schedule(0.0)
    drafts = chunks[0].drafts
    [progress] = made.commit(chunks, [Produced([4, 5, 6, 7, 8][: drafts + 1], [])])
    assert (progress.new_ids, progress.finish) == (written, finish)
    assert progress.accepted_draft_tokens <= len(written)
    assert one.tokens == [*REPEATED, 3, *written]
    assert made._pool.cached == len(one.tokens) // 4
    made.check_integrity()


def test_a_structure_is_complete_only_with_the_last_of_several() -> None:
    made, _ = guessing()
    [progress] = made.commit(made.schedule(0.0), [Produced([4, 5, 6], [], complete=True)])
    assert (progress.new_ids, progress.finish) == ([4, 5, 6], FinishReason.STOP)


def test_no_more_is_guessed_than_can_be_written() -> None:
    made, _ = guessing(SamplingParams(3))
    [chunk] = made.schedule(0.0)
    assert chunk.drafts == 1


def test_guesses_take_half_of_what_the_budget_leaves() -> None:
    made, _ = guessing(step=10)
    assert made.schedule(0.0)[0].drafts == 4
    made, _ = guessing(step=10)
    made.add(sequence(2, 9))
    made._budget = 5
    assert {chunk.sequence.id: chunk.drafts for chunk in made.schedule(0.0)} == {1: 2, 2: 0}


def test_guesses_take_no_block_that_another_is_about_to_need() -> None:
    made, one = guessing(blocks=4, length=16, params=SamplingParams(6, ignore_eos=True))
    assert len(one.blocks) == 3
    [chunk] = made.schedule(0.0)
    assert (chunk.drafts, len(one.blocks)) == (1, 3)


@pytest.mark.parametrize("produced", [[], [4, 5, 6, 7, 8, 9], [5, 4], [4, 6, 9]])
def test_what_cannot_have_been_produced_is_a_failure(produced: list[int]) -> None:
    made, _ = guessing()
    [progress] = made.commit(made.schedule(0.0), [Produced(produced, [])])
    assert progress.failed
    assert progress.failed.kind is FailureKind.ENGINE
    assert len(made) == 0
    made.check_integrity()


# --- come and go ---


def test_a_cancelled_one_gives_its_blocks_back_at_once() -> None:
    one = sequence(1, 9)
    made = scheduler(one, sequence(2), running=1)
    chunks = made.schedule(0.0)
    assert made.cancel(FRONT, 1) is one
    assert (one.state, made._pool.used) == (SequenceState.FINISHED, 0)
    assert commit(made, chunks) == []
    assert made.cancel(FRONT, 1) is None
    assert made.cancel("another front", 2) is None
    assert made.cancel(FRONT, 2) is not None
    assert len(made) == 0


def test_all_that_a_sender_left_is_forgotten() -> None:
    made = scheduler(sequence(1), sequence(2), running=1)
    other = GenerationSequence("another front", 1, 1, [3], ENDLESS)
    made.add(other)
    step(made)
    assert {one.id for one in made.forget(FRONT)} == {1, 2}
    assert (len(made), made.forget(FRONT)) == (1, [])
    assert [chunk.sequence for chunk in step(made)] == [other]


@pytest.mark.parametrize(
    ("one", "sentence"),
    [
        (sequence(1, []), "at least one token"),
        (sequence(1, 1, SamplingParams(0)), "at least one token"),
        (sequence(1, 45), "prompt and max_tokens make more than 64 tokens"),
        (sequence(7, 1), "has a sequence 7 already"),
    ],
)
def test_what_can_never_run_is_refused(one: GenerationSequence, sentence: str) -> None:
    made = scheduler(sequence(7))
    with pytest.raises(ValueError, match=sentence):
        made.add(one)
    made.check_integrity()
    assert len(made) == 1


def test_nothing_to_do_is_an_empty_step() -> None:
    made = scheduler()
    assert made.schedule(0.0) == []
    assert made.commit([], []) == []
    assert not made.shrink()


def test_many_samples_of_one_prompt_share_its_blocks() -> None:
    prompt = list(range(41))
    made = scheduler(*[sequence(id, prompt) for id in range(8)], blocks=40)
    engine = FakeEngine(made._pool)
    computed = 0
    while len(made):
        chunks = made.schedule(0.0)
        computed += sum(len(chunk.tokens) for chunk in chunks if chunk.start < 41)
        made.commit(chunks, engine.step(chunks))
    assert computed == 41 + 7
    assert made._pool.used == 0


def test_wrong_books_are_told_of() -> None:
    one = sequence(1, 9)
    made = scheduler(one)
    step(made)
    one.blocks.pop()
    with pytest.raises(IntegrityError, match="sequence 1 runs with 9 of 10 tokens computed"):
        made.check_integrity()
    made = scheduler(one := sequence(1))
    one.state = SequenceState.FINISHED
    with pytest.raises(IntegrityError, match="sequence 1 is finished, but listed as waiting"):
        made.check_integrity()
    made = scheduler(sequence(1))
    made._waiting.clear()
    with pytest.raises(IntegrityError, match="1 sequences have not ended, but 0 wait or run"):
        made.check_integrity()
    made = scheduler()
    block = made._pool.allocate()
    with pytest.raises(IntegrityError, match=f"block {block} counts 1 sequences, but 0 hold it"):
        made.check_integrity()
