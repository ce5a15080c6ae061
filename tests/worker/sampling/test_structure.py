"""Structures: what is written under one is what it asks for, and one that costs too much is refused."""

import json
import random
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer

from loquor.internal.structure_limits import StructureError
from loquor_worker.engines import InvalidSubmission
from loquor_worker.generation.params import SamplingParams, Structure, StructureKind
from loquor_worker.generation.sequence import GenerationSequence
from loquor_worker.sampling.sampler import Pick, Row, Sampler
from loquor_worker.sampling.structure import StructureCompiler
from tests.worker.sampling.byte_tokenizer import END, TURN, save_tokenizer

ENDS = frozenset({END})
# As a model's head may have more rows than its tokenizer has tokens.
SPARE = 9


def schema(**values: Any) -> Structure:
    return Structure(StructureKind.JSON_SCHEMA, json.dumps(values))


def regex(text: str) -> Structure:
    return Structure(StructureKind.REGEX, text)


def id_of(tokenizer: Tokenizer, token: str) -> int:
    id = tokenizer.token_to_id(token)
    assert id is not None
    return id


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tokenizer")


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Tokenizer:
    return save_tokenizer(folder / "tokenizer.json")


@pytest.fixture
def size(tokenizer: Tokenizer) -> int:
    return int(tokenizer.get_vocab_size()) + SPARE


@pytest.fixture
def sampler(folder: Path, size: int) -> Sampler:
    return Sampler(size, ENDS, folder / "tokenizer.json")


@pytest.fixture
def compiler(folder: Path, size: int) -> StructureCompiler:
    return StructureCompiler(folder / "tokenizer.json", size, ENDS)


class Writer:
    """One sequence, written with logits that know nothing: what comes of it is the structure's doing."""

    def __init__(self, sampler: Sampler, size: int, structure: Structure, **asked: Any) -> None:
        params = SamplingParams(**{"max_tokens": 400, "temperature": 1.0, "structure": structure, **asked})
        self.sequence = GenerationSequence("front", 1, 2, [3, 4], params)
        self.sampler, self.size = sampler, size
        self.random = torch.Generator().manual_seed(params.seed)
        sampler.admit(self.sequence)

    @property
    def output(self) -> list[int]:
        return self.sequence.tokens[2:]

    def logits(self, rows: int = 1) -> torch.Tensor:
        return torch.randn(rows, self.size, generator=self.random) * 2

    def pick(self) -> Pick:
        return self.sampler.sample(self.logits(), [Row(self.sequence)])[0]

    def run(self, most: int = 400) -> str:
        """To the end; how it ended."""
        params = self.sequence.params
        for _ in range(most):
            pick = self.pick()
            assert pick.failure is None
            ends = params.stop_token_ids | (frozenset() if params.ignore_eos else ENDS)
            if pick.id in ends and len(self.output) >= params.min_tokens:
                return "stop" if pick.id in params.stop_token_ids else "end"
            self.sequence.tokens.append(pick.id)
            if pick.complete:
                return "complete"
        return "length"


PERSON = schema(
    type="object",
    properties={
        "name": {"type": "string", "pattern": "^[A-Z][a-z]{1,8}$"},
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
        "kind": {"enum": ["red", "green", 7, None]},
        "on": {"type": "array", "items": {"type": "boolean"}, "minItems": 1, "maxItems": 3},
    },
    required=["name", "age", "kind", "on"],
    additionalProperties=False,
)


def is_person(value: Any) -> bool:
    return (
        value.keys() == {"name", "age", "kind", "on"}
        and re.fullmatch("[A-Z][a-z]{1,8}", value["name"]) is not None
        and type(value["age"]) is int
        and 0 <= value["age"] <= 120
        and value["kind"] in ("red", "green", 7, None)
        and 1 <= len(value["on"]) <= 3
        and all(type(one) is bool for one in value["on"])
    )


def test_whatever_the_logits_say_the_schema_is_kept(sampler: Sampler, size: int, tokenizer: Tokenizer) -> None:
    for seed in range(50):
        writer = Writer(sampler, size, PERSON, seed=seed)
        assert writer.run() == "complete"
        assert is_person(json.loads(tokenizer.decode(writer.output)))
        sampler.release(writer.sequence)
    assert len(sampler) == 0


PATTERNS = [
    r"[0-9]{4}-[0-9]{2}",
    "(red|green|abc){1,4}",
    "(a|b)*c",
    "é[à-ü]{2}!?",
    r"[a-z]{1,9}@[a-z.]{1,9}[.](com|org)",
    "(a?){20}a{20}",
]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_whatever_the_logits_say_the_expression_matches_the_whole(
    sampler: Sampler, size: int, tokenizer: Tokenizer, pattern: str
) -> None:
    ended = 0
    for seed in range(50):
        writer = Writer(sampler, size, regex(pattern), seed=seed, logit_bias={END: 3.0})
        if writer.run() == "length":
            continue
        ended += 1
        assert re.fullmatch(pattern, tokenizer.decode(writer.output))
    assert ended > 40


def test_what_a_schema_says_of_numbers_is_kept(compiler: StructureCompiler, tokenizer: Tokenizer) -> None:
    for number, is_kept in ((70, True), (71, False), (7, True), (-7, False)):
        matcher = compiler.compile(schema(type="integer", multipleOf=7, minimum=0))
        matcher.accept(tokenizer.encode(str(number)).ids)
        assert (matcher.failure is None and matcher.may_end) == is_kept


def test_space_in_a_document_has_an_end(compiler: StructureCompiler, tokenizer: Tokenizer) -> None:
    space = id_of(tokenizer, "Ġ")
    matcher = compiler.compile(schema(type="array", items={"type": "boolean"}, minItems=1))
    matcher.accept([id_of(tokenizer, "[")])
    assert [matcher.try_accept(space) for _ in range(21)] == [True] * 20 + [False]
    assert matcher.try_accept(id_of(tokenizer, "true"))


def test_many_structures_in_one_step_do_not_meet(sampler: Sampler, size: int, tokenizer: Tokenizer) -> None:
    patterns = ["[ab]{9}", "[0-9]{9}", "(red){9}", "[x-z]{9}"]
    writers = [Writer(sampler, size, regex(pattern), seed=seed) for seed, pattern in enumerate(patterns * 3)]
    free = GenerationSequence("front", 2, 1, [5], SamplingParams(max_tokens=9))
    for _ in range(2):
        logits = torch.cat([writer.logits() for writer in writers] + [torch.zeros(1, size)])
        logits[-1, size - 1] = 9.0
        picks = sampler.sample(logits, [*(Row(writer.sequence) for writer in writers), Row(free)])
        assert picks[-1].id == size - 1
        for writer, pick in zip(writers, picks, strict=False):
            writer.sequence.tokens.append(pick.id)
    for writer, pattern in zip(writers, patterns * 3, strict=True):
        assert writer.run() == "complete"
        assert re.fullmatch(pattern, tokenizer.decode(writer.output))


def test_rows_behind_guesses_are_as_without_guesses(sampler: Sampler, size: int, tokenizer: Tokenizer) -> None:
    """Guesses that are right, wrong and not allowed; after each step the sequence goes on as if there were none."""
    shuffled = random.Random(5)
    for seed in range(12):
        plain, drafted = (Writer(sampler, size, PERSON, seed=seed) for _ in range(2))
        noise = torch.randn(400, size, generator=torch.Generator().manual_seed(seed))
        plain.logits = lambda rows=1: noise[len(plain.output)][None].clone()  # type: ignore[method-assign] # noqa: B023
        assert plain.run() == "complete"
        while len(drafted.output) < len(plain.output):
            at = len(drafted.output)
            guesses = plain.output[at : at + 4]
            if shuffled.random() < 0.5:
                guesses[-1] = shuffled.choice([END, TURN, 70, size - 1])
            rows = [Row(drafted.sequence, guesses[:known]) for known in range(len(guesses) + 1)]
            picks = sampler.sample(noise[at : at + len(rows)].clone(), rows)
            right = 0
            while right < len(guesses) and picks[right].id == guesses[right] and not picks[right].complete:
                right += 1
            kept = picks[: right + 1]
            drafted.sequence.tokens += [pick.id for pick in kept]
            assert drafted.output == plain.output[: len(drafted.output)]
            assert [pick.complete for pick in kept[:-1]] == [False] * right
            assert kept[-1].complete == (len(drafted.output) == len(plain.output))


def test_an_end_comes_only_where_the_text_is_complete(sampler: Sampler, size: int, tokenizer: Tokenizer) -> None:
    eager = {END: 100.0}
    assert Writer(sampler, size, PERSON, logit_bias=eager).run() == "complete"
    short = Writer(sampler, size, regex("(ab)+"), logit_bias=eager)
    assert short.run() == "end"
    assert tokenizer.decode(short.output) == "ab"


def test_min_tokens_hold_off_the_end_but_not_completion(sampler: Sampler, size: int) -> None:
    eager = {END: 100.0}
    later = Writer(sampler, size, regex("a+"), logit_bias=eager, min_tokens=5)
    assert later.run() == "end"
    assert len(later.output) == 5
    done = Writer(sampler, size, regex("a{3}"), logit_bias=eager, min_tokens=5)
    assert done.run() == "complete"
    assert len(done.output) == 3


def test_with_ignore_eos_it_goes_on_as_long_as_it_can(sampler: Sampler, size: int) -> None:
    eager = {END: 100.0}
    endless = Writer(sampler, size, regex("[ab]+"), logit_bias=eager, ignore_eos=True)
    assert endless.run(30) == "length"
    assert END not in endless.output
    bounded = Writer(sampler, size, regex("[ab]{1,6}"), logit_bias=eager, ignore_eos=True)
    assert bounded.run() == "complete"


def test_a_stop_token_stops_only_where_the_text_before_it_is_complete(
    sampler: Sampler, size: int, tokenizer: Tokenizer
) -> None:
    b, turn = id_of(tokenizer, "b"), frozenset({TURN})
    by_turn = Writer(sampler, size, regex("(ab)+"), stop_token_ids=turn, logit_bias={TURN: 100.0})
    assert by_turn.run() == "stop"
    assert tokenizer.decode(by_turn.output) == "ab"
    a, pair = id_of(tokenizer, "a"), id_of(tokenizer, "ab")
    held = Writer(sampler, size, regex("(ab){2}"), stop_token_ids=frozenset({pair}), logit_bias={pair: 100.0})
    assert held.run() == "complete"
    assert held.output == [a, b, a, b]
    # Behind the first "a" nothing but the stop token is left: the text is cut there.
    cut = Writer(sampler, size, regex("ab"), stop_token_ids=frozenset({b}), logit_bias={a: 100.0})
    assert cut.run() == "stop"
    assert cut.output == [a]


def test_what_was_written_against_the_structure_fails_that_sequence_alone(sampler: Sampler, size: int) -> None:
    spoilt, sound = (Writer(sampler, size, regex("[ab]{9}")) for _ in range(2))
    spoilt.sequence.tokens.append(70)
    logits = torch.cat([spoilt.logits(), sound.logits()])
    bad, good = sampler.sample(logits, [Row(spoilt.sequence), Row(sound.sequence)])
    assert bad.failure
    assert good.failure is None
    assert sampler.sample(spoilt.logits(), [Row(spoilt.sequence)])[0].failure
    assert sound.run() == "complete"


HOSTILE: list[tuple[Structure, str]] = [
    (Structure(StructureKind.JSON_SCHEMA, '{"items":' * 199 + "{}" + "}" * 199), "more than 32 levels deep"),
    (schema(type="array", uniqueItems=True), "uniqueItems"),
    (schema(**{"not": {}}), "not"),
    (schema(type="integer", minimum=5, maximum=3), "minimum"),
    (schema(type="nonsense"), "nonsense"),
    (schema(**{"$ref": "http://localhost:9/schema.json"}), "not present"),
    (schema(**{"$ref": "#"}), "no text can be written"),
    (schema(allOf=[{"anyOf": [{"maxLength": i * j + 1} for i in range(20)]} for j in range(20)]), "schema too large"),
    (schema(type="integer", multipleOf=999_983), "multipleOf"),
    (Structure(StructureKind.JSON_SCHEMA, '{"const":"\\ud800"}'), "hex escape"),
    (regex("(a"), "unclosed group"),
    (regex("(?=a)a"), "look-around"),
    (regex(r"(a)\1"), "backreferences"),
    (regex("a{2,1}"), "invalid repetition"),
    (regex("(a{1000}){1000}"), "more than 10000 repetitions"),
    (regex("a{0}"), "no text of at least one token"),
    (regex(".*" * 1000 + "x"), "lexer precomputation failed"),
]


@pytest.mark.parametrize(("structure", "reason"), HOSTILE, ids=lambda value: str(getattr(value, "text", value))[:30])
def test_a_structure_that_cannot_be_followed_is_refused_with_its_field(
    sampler: Sampler, size: int, structure: Structure, reason: str
) -> None:
    Writer(sampler, size, regex("a"))  # the tokenizer is read
    started = time.process_time()
    with pytest.raises(InvalidSubmission) as caught:
        Writer(sampler, size, structure)
    assert time.process_time() - started < 1.0
    assert str(caught.value).startswith(f"sampling.{structure.kind.value}: ")
    assert reason in str(caught.value)
    assert len(sampler) == 1


EXPENSIVE = ["((a|b)*c){1000}", "(a?){50}a{50}", "(.*a.{90}){90}", "(a|b)*a(a|b){24}", r"(\w{1,90}){1,90}"]


@pytest.mark.parametrize("pattern", EXPENSIVE)
def test_a_step_of_an_expensive_structure_is_bounded(compiler: StructureCompiler, pattern: str) -> None:
    matcher = compiler.compile(regex(pattern))
    choose = random.Random(1)
    for _ in range(80):
        started = time.process_time()
        allowed = matcher.allowed()
        assert time.process_time() - started < 1.0
        ids = [id for id in range(len(allowed) * 8) if allowed[id // 8] >> id % 8 & 1 and id != END]
        if matcher.failure is not None or not ids:
            break
        matcher.accept([choose.choice(ids)])
    assert matcher.failure is None or "too many" in matcher.failure


def test_a_compiled_structure_is_kept_and_its_matchers_are_apart(
    compiler: StructureCompiler, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = compiler.compile(regex("ab"))
    first.accept([id_of(tokenizer, "a")])
    monkeypatch.setattr(compiler, "_compiled", _never)
    second = compiler.compile(regex("ab"))
    assert not second.try_accept(id_of(tokenizer, "b"))
    assert first.try_accept(id_of(tokenizer, "b"))
    assert first.is_complete
    assert not second.is_complete


def test_no_more_are_kept_than_64(compiler: StructureCompiler) -> None:
    for number in range(70):
        compiler.compile(regex(f"a{number}"))
    assert len(compiler._kept) == 64
    assert regex("a5") not in compiler._kept
    assert regex("a6") in compiler._kept


def test_roll_back_takes_back_what_was_accepted(compiler: StructureCompiler, tokenizer: Tokenizer) -> None:
    matcher = compiler.compile(regex("a(b|c)"))
    a, b = id_of(tokenizer, "a"), id_of(tokenizer, "b")
    before = matcher.allowed().tolist()
    assert matcher.try_accept(a)
    assert matcher.try_accept(b)
    assert matcher.is_complete
    matcher.roll_back(2)
    assert not matcher.is_complete
    assert matcher.allowed().tolist() == before


@pytest.mark.parametrize("spoil", [lambda path: path.write_text("{}"), lambda path: path.unlink()])
def test_a_model_without_a_tokenizer_that_serves_refuses_structures(
    tmp_path: Path, spoil: Callable[[Path], object]
) -> None:
    file = tmp_path / "tokenizer.json"
    save_tokenizer(file)
    spoil(file)
    with pytest.raises(StructureError, match="regex: not with the tokenizer of this model"):
        StructureCompiler(file, 300, ENDS).compile(regex("a"))


def _never(structure: Structure) -> None:
    raise AssertionError("compiled again")
