"""The sampler against a plain reference, and what a row may rely on whatever stands beside it."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from loquor_worker.generation.params import SamplingParams
from loquor_worker.generation.sequence import GenerationSequence
from loquor_worker.sampling.sampler import Pick, Row, Sampler
from loquor_worker.sampling.uniform import uniform
from tests.worker.sampling import reference

VOCABULARY, ENDS = 1000, frozenset({0, 7})


def made(**asked: Any) -> SamplingParams:
    return SamplingParams(**{"max_tokens": 100, **asked})


def sequence(params: SamplingParams, prompt: Sequence[int] = (1, 2, 3), output: Sequence[int] = ()) -> Any:
    return GenerationSequence("front", 1, len(prompt), [*prompt, *output], params)


def sampler() -> Sampler:
    return Sampler(VOCABULARY, ENDS, Path("no tokenizer is read"))


def sample(logits: torch.Tensor, rows: Sequence[Row]) -> list[Pick]:
    one = sampler()
    for sequence in {id(row.sequence): row.sequence for row in rows}.values():
        one.admit(sequence)
    return one.sample(logits.clone(), rows)


def random_logits(rows: int, seed: int = 0, spread: float = 3.0) -> torch.Tensor:
    return torch.randn(rows, VOCABULARY, generator=torch.Generator().manual_seed(seed)) * spread


def expected(logits: torch.Tensor, row: Row) -> int:
    one = row.sequence
    tokens = [*one.tokens, *row.guesses]
    params = one.params
    values = reference.adjusted(logits.numpy(), tokens[: one.prompt_tokens], tokens[one.prompt_tokens :], params)
    if row.position < params.min_tokens:
        ends = params.stop_token_ids if params.ignore_eos else params.stop_token_ids | ENDS
        values = reference.barred(values, sorted(ends))
    return reference.pick(values, params, uniform(params.seed, row.position))


EACH_ALONE: list[dict[str, Any]] = [
    {"temperature": 0.0},
    {"temperature": 1.0},
    {"temperature": 0.3},
    {"temperature": 2.5},
    {"temperature": 1.0, "top_k": 1},
    {"temperature": 1.0, "top_k": 20},
    {"temperature": 1.0, "top_k": 64},
    {"temperature": 1.0, "top_k": 300},
    {"temperature": 1.0, "top_k": 5000},
    {"temperature": 1.0, "top_p": 0.1},
    {"temperature": 1.0, "top_p": 0.9},
    {"temperature": 1.5, "top_p": 0.999},
    {"temperature": 1.0, "min_p": 0.2},
    {"temperature": 1.5, "min_p": 0.001},
    {"temperature": 1.2, "top_k": 50, "top_p": 0.8, "min_p": 0.05},
    {"temperature": 1.2, "top_k": 200, "top_p": 0.95},
    {"temperature": 1.0, "repetition_penalty": 1.7},
    {"repetition_penalty": 0.5},
    {"temperature": 1.0, "presence_penalty": 1.5},
    {"temperature": 1.0, "frequency_penalty": -1.0},
    {"repetition_penalty": 1.3, "presence_penalty": -2.0, "frequency_penalty": 0.7},
    {"logit_bias": {5: 100.0, 6: -100.0}},
    {"temperature": 1.0, "logit_bias": dict.fromkeys(range(100, 300), 8.0)},
    {"temperature": 1.0, "min_tokens": 90, "stop_token_ids": frozenset({9, 11})},
    {"temperature": 1.0, "min_tokens": 90, "ignore_eos": True},
]


@pytest.mark.parametrize("asked", EACH_ALONE, ids=str)
def test_each_parameter_does_what_the_reference_does(asked: dict[str, Any]) -> None:
    rows = [
        Row(sequence(made(**asked, seed=seed), prompt=[1, 2, 3, 3], output=[2, 5, 5, 8, *range(seed)]))
        for seed in range(40)
    ]
    for spread in (0.3, 3.0):
        logits = random_logits(len(rows), spread=spread)
        picks = sample(logits, rows)
        assert [pick.id for pick in picks] == [expected(one, row) for one, row in zip(logits, rows, strict=True)]
        assert all(pick.logprob is None and not pick.complete and pick.failure is None for pick in picks)


def test_equal_logits_stand_in_the_order_of_their_ids() -> None:
    logits = torch.round(random_logits(60))  # as many ties as can be
    for asked in ({"top_k": 30}, {"top_p": 0.7}, {}, {"min_p": 0.05}, {"top_k": 64}):
        rows = [Row(sequence(made(temperature=1.0, seed=seed, **asked))) for seed in range(60)]
        picks = sample(logits, rows)
        assert [pick.id for pick in picks] == [expected(one, row) for one, row in zip(logits, rows, strict=True)]


def test_the_draws_follow_the_distribution() -> None:
    draws, few = 4000, 12
    logits = torch.full((1, VOCABULARY), -30.0)
    logits[0, :few] = torch.linspace(0.0, 2.0, few)
    rows = [Row(sequence(made(temperature=1.0, seed=seed))) for seed in range(draws)]
    picked = [pick.id for pick in sample(logits.expand(draws, -1), rows)]
    counts = np.bincount(picked, minlength=VOCABULARY)
    means = torch.softmax(logits[0], -1).double().numpy() * draws
    chi_square = float(((counts[:few] - means[:few]) ** 2 / means[:few]).sum())
    assert counts[few:].sum() == 0
    assert chi_square < 31.3  # the thousandth part of all fair samples lie above it, at 11 degrees of freedom


def test_positions_of_one_seed_are_drawn_apart() -> None:
    numbers = [uniform(seed, position) for seed in (0, 1, 2**64 - 1) for position in range(2000)]
    assert len(set(numbers)) == len(numbers)
    assert all(0 <= number < 1 for number in numbers)
    assert abs(sum(numbers) / len(numbers) - 0.5) < 0.02
    assert uniform(3, 4) == 0.7381018435931744


def mixed() -> list[SamplingParams]:
    return [made(**EACH_ALONE[place % len(EACH_ALONE)], seed=place, logprobs=place % 3 or None) for place in range(32)]


def test_a_row_is_the_same_alone_and_among_others() -> None:
    rows = [Row(sequence(params, output=[4, 5, 6, 5])) for params in mixed()]
    logits = random_logits(32)
    together = sample(logits, rows)
    for place, row in enumerate(rows):
        alone = sample(logits[place : place + 1], [row])
        assert alone[0].id == together[place].id
        assert (alone[0].logprob is None) == (row.sequence.params.logprobs is None)


def test_rows_with_guesses_are_as_if_the_guesses_were_written() -> None:
    output, guesses = [4, 5], [5, 9, 9, 4]
    for params in mixed():
        drafted = sequence(params, output=output)
        rows = [Row(drafted, guesses[:known]) for known in range(len(guesses) + 1)]
        logits = random_logits(len(rows), seed=params.seed)
        plain = [Row(sequence(params, output=output + guesses[:known])) for known in range(len(rows))]
        assert [one.id for one in sample(logits, rows)] == [
            sample(logits[place : place + 1], [row])[0].id for place, row in enumerate(plain)
        ]


def test_what_is_kept_of_a_sequence_grows_with_it_and_survives_a_step_that_is_run_again() -> None:
    params = made(temperature=1.0, repetition_penalty=1.4, frequency_penalty=0.6, presence_penalty=0.2, seed=3)
    one, kept = sequence(params, prompt=list(range(200))), sampler()
    kept.admit(one)
    for step in range(150):
        logits = random_logits(1, seed=step)
        known = Row(one, [int(id) for id in torch.arange(step % 3)])
        picked = kept.sample(logits.clone(), [known])[0].id
        assert kept.sample(logits.clone(), [known])[0].id == picked == expected(logits[0], known)
        one.tokens += [*known.guesses, picked][: 1 + step % 2]
    kept.release(one)
    assert len(kept) == 0


def test_nothing_is_kept_where_nothing_is_needed() -> None:
    kept, one = sampler(), sequence(made(temperature=0.7, top_p=0.9, logprobs=3))
    kept.admit(one)
    assert len(kept) == 0
    kept.release(one)


def test_log_probabilities_are_those_of_the_raw_logits() -> None:
    asked = [None, 0, 1, 20]
    rows = [
        Row(sequence(made(temperature=2.0, logprobs=count, logit_bias={5: 50.0}, repetition_penalty=2.0, seed=seed)))
        for seed, count in enumerate(asked)
    ]
    logits = random_logits(len(rows))
    for pick, raw, count in zip(sample(logits, rows), logits, asked, strict=True):
        if count is None:
            assert pick.logprob is None
            continue
        assert pick.logprob is not None
        truth = torch.log_softmax(raw, -1)
        assert pick.logprob.logprob == pytest.approx(truth[pick.id].item(), abs=1e-5)
        values, ids = torch.sort(truth, descending=True)
        assert pick.logprob.ids == ids[:count].tolist()
        assert pick.logprob.logprobs == pytest.approx(values[:count].tolist(), abs=1e-5)


def test_all_greedy_is_one_search_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("topk", "softmax", "log_softmax", "sort"):
        monkeypatch.setattr(torch, name, None)
    logits = random_logits(4)
    rows = [Row(sequence(made())) for _ in range(4)]
    assert [pick.id for pick in sample(logits, rows)] == logits.argmax(-1).tolist()


EXTREMES = st.sampled_from([math.nan, math.inf, -math.inf, 1e30, -1e30, 3e38, -3e38, 0.0, 1e-30])
PARAMS = st.builds(
    made,
    temperature=st.one_of(st.just(0.0), st.floats(0.0, 100.0, width=32)),
    top_k=st.integers(0, 60),
    top_p=st.floats(1e-30, 1.0),
    min_p=st.floats(0.0, 1.0),
    repetition_penalty=st.floats(1e-3, 100.0),
    presence_penalty=st.floats(-2.0, 2.0),
    frequency_penalty=st.floats(-2.0, 2.0),
    logit_bias=st.dictionaries(st.integers(0, 29), st.floats(-100.0, 100.0), max_size=5),
    seed=st.integers(0, 2**64 - 1),
    min_tokens=st.integers(0, 5),
    stop_token_ids=st.frozensets(st.integers(0, 29), max_size=4),
    ignore_eos=st.booleans(),
    logprobs=st.one_of(st.none(), st.integers(0, 20)),
)


@settings(max_examples=300, deadline=None)
@given(
    params=st.lists(PARAMS, min_size=1, max_size=5),
    seed=st.integers(0, 1000),
    extremes=st.dictionaries(st.tuples(st.integers(0, 4), st.integers(0, 29)), EXTREMES, max_size=40),
    output=st.lists(st.integers(0, 29), max_size=6),
)
def test_no_logits_and_no_parameters_pick_what_may_not_be_picked(
    params: list[SamplingParams], seed: int, extremes: dict[tuple[int, int], float], output: list[int]
) -> None:
    logits = random_logits(len(params), seed)[:, :30].clone()
    for (row, id), value in extremes.items():
        logits[row % len(params), id] = value
    small = Sampler(30, ENDS, Path("no tokenizer is read"))
    rows = [Row(sequence(one, output=output)) for one in params]
    for known in rows:
        small.admit(known.sequence)
    for pick, one in zip(small.sample(logits, rows), params, strict=True):
        assert 0 <= pick.id < 30
        if len(output) < one.min_tokens:
            assert pick.id not in one.stop_token_ids
            assert one.ignore_eos or pick.id not in ENDS
        if pick.logprob is not None:
            assert not any(math.isnan(value) for value in [pick.logprob.logprob, *pick.logprob.logprobs])
