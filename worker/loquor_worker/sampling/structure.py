"""What an output must be, followed token by token: which tokens may come next, and when the text is complete.

`llguidance` does it (docs/decisions/0012). It is given limits in its own units of work, so that neither compiling nor a
step can run away, and what the front refuses by its form is refused here too. It knows no logits.
"""

import re
from collections import OrderedDict
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from llguidance import LLMatcher, LLParserLimits, LLTokenizer

from loquor.internal.structure_limits import StructureError, check_json_schema, check_regex
from loquor_worker.generation.params import Structure, StructureKind

if TYPE_CHECKING:
    from llguidance._lib import JsonCompileOptions

Bits = npt.NDArray[np.uint8]

_MOST_KEPT = 64
# What a schema may not change: no unknown keyword is passed over, and space between tokens has an end.
_JSON: "JsonCompileOptions" = {
    "lenient": False,
    "coerce_one_of": False,
    "whitespace_flexible": True,
    "whitespace_pattern": r"[ \n\t]{0,20}",
}


class Matcher:
    """Follows one text. After a failure nothing is allowed any more, and `failure` says why.

    `tokens` are those that may be written at all, `ends` those of them that end a text.
    """

    def __init__(self, matcher: LLMatcher, tokens: Bits, ends: Bits) -> None:
        self._matcher = matcher
        self._tokens = tokens
        self._ends = ends

    def allowed(self) -> Bits:
        """A bit for each token that may come next, the lowest of a byte first; the end tokens' where it may end."""
        return np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)[: len(self._tokens)] & self._tokens

    @property
    def may_end(self) -> bool:
        return bool(self._matcher.is_accepting())

    @property
    def is_complete(self) -> bool:
        """It may end and nothing can follow."""
        if self.failure is not None or not self.may_end:
            return False
        return bool(self._matcher.is_stopped()) or not (self.allowed() & ~self._ends).any()

    @property
    def failure(self) -> str | None:
        return _reason(self._matcher.get_error()) if self._matcher.is_error() else None

    def accept(self, ids: Sequence[int]) -> None:
        """What was written; a token that is not allowed is a failure."""
        self._matcher.consume_tokens(list(ids))

    def try_accept(self, id: int) -> bool:
        """False, and nothing has changed, if the token is not allowed."""
        return self._matcher.try_consume_tokens([id]) == 1

    def roll_back(self, tokens: int) -> None:
        """Take back the last tokens that were accepted."""
        if tokens:
            self._matcher.rollback(tokens)

    def copy(self) -> "Matcher":
        return Matcher(self._matcher.deep_copy(), self._tokens, self._ends)


class StructureCompiler:
    """Of one model's vocabulary. Those compiled last are kept.

    Reading the tokenizer takes 0.2 s, which the first structure pays.
    """

    def __init__(self, tokenizer_file: Path, vocabulary_size: int, end_ids: Collection[int]) -> None:
        self._file = tokenizer_file
        self._vocabulary_size = vocabulary_size
        self._end_ids = sorted(end_ids)
        self._tokenizer: LLTokenizer | None = None
        self._kept: OrderedDict[Structure, Matcher] = OrderedDict()

    def compile(self, structure: Structure) -> Matcher:
        """A matcher at the start of a text. Raises `StructureError` with the field and the reason."""
        if structure in self._kept:
            self._kept.move_to_end(structure)
        else:
            self._kept[structure] = self._compiled(structure)
            if len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
        return self._kept[structure].copy()

    def _compiled(self, structure: Structure) -> Matcher:
        field = structure.kind.value
        grammar = _grammar(structure)
        self._tokenizer = self._tokenizer or self._read(field)
        ends = bits_of(self._end_ids, self._vocabulary_size)
        foreign = set(self._tokenizer.eos_tokens) - set(self._end_ids)
        matcher = Matcher(
            LLMatcher(self._tokenizer, grammar, log_level=0, limits=_limits()),
            ~bits_of(foreign, self._vocabulary_size),
            ends,
        )
        # The first mask, too, shows whether it is too complex.
        allowed = matcher.allowed() if matcher.failure is None else ends
        if matcher.failure is not None:
            raise StructureError(field, matcher.failure)
        if not (allowed & ~ends).any():
            raise StructureError(field, "no text of at least one token can be written")
        return matcher

    def _read(self, field: str) -> LLTokenizer:
        try:
            text = self._file.read_text(encoding="utf-8")
            return LLTokenizer(text, n_vocab=self._vocabulary_size, eos_token=self._end_ids or None)
        except (OSError, ValueError) as error:
            raise StructureError(field, f"not with the tokenizer of this model: {_reason(str(error))}") from None


def bits_of(ids: Collection[int], vocabulary_size: int) -> Bits:
    """In whole words of 32 bits, as masks come."""
    flags = np.zeros(-(-vocabulary_size // 32) * 32, np.uint8)
    flags[list(ids)] = 1
    return np.packbits(flags, bitorder="little")


def _limits() -> LLParserLimits:
    """In the library's units of work: 50 of a start, or 14 of a step, take a microsecond or somewhat longer."""
    return LLParserLimits(
        initial_lexer_fuel=250_000,
        step_lexer_fuel=100_000,
        step_max_items=20_000,
        max_lexer_states=20_000,
        max_grammar_size=100_000,
        verbose_errors=False,
    )


def _grammar(structure: Structure) -> str:
    if structure.kind is StructureKind.REGEX:
        check_regex(structure.text)
        return LLMatcher.grammar_from_regex(structure.text)
    check_json_schema(structure.text)
    try:
        return LLMatcher.grammar_from_json_schema(structure.text, overrides=_JSON)
    except ValueError as error:
        raise StructureError(structure.kind.value, _reason(str(error))) from None


def _reason(error: str) -> str:
    """On one line, and without the state and the advice that the library may add."""
    shown = re.split("<state>|<non-verbose/>|; either increase", error)[0]
    return " ".join(shown.replace("NoExtensionBias", "no text can be written").split())[:300]
