"""Picks the tokens of a step: one for each row of logits, as the row's sequence asks.

A step in which every row takes the likeliest token costs one search and one transfer. What a pick needs to know of its
sequence follows the sequence's tokens, so a step may be run again and a preempted sequence go on.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

import torch

from loquor.internal.structure_limits import StructureError
from loquor_worker.engines import InvalidSubmission
from loquor_worker.generation.sequence import GenerationSequence
from loquor_worker.sampling.adjustments import Adjustments
from loquor_worker.sampling.draws import Chances, draw
from loquor_worker.sampling.guide import Guide
from loquor_worker.sampling.ledger import Ledger
from loquor_worker.sampling.logprobs import Logprobs
from loquor_worker.sampling.row import Pick, Row
from loquor_worker.sampling.structure import StructureCompiler
from loquor_worker.sampling.uniform import uniform

__all__ = ["Pick", "Row", "Sampler"]


class Sampler:
    """Of one model. `end_ids` are the tokens that end a text."""

    def __init__(self, vocabulary_size: int, end_ids: frozenset[int], tokenizer_file: Path) -> None:
        self._vocabulary_size = vocabulary_size
        self._end_ids = end_ids
        self._compiler = StructureCompiler(tokenizer_file, vocabulary_size, end_ids)
        self._ledgers: dict[GenerationSequence, Ledger] = {}

    def __len__(self) -> int:
        """Sequences that something is kept for."""
        return len(self._ledgers)

    def admit(self, sequence: GenerationSequence) -> None:
        """Make ready for a new sequence. Raises `InvalidSubmission` for a structure that cannot be followed."""
        if _needs_ledger(sequence):
            self._ledgers[sequence] = Ledger(sequence, self._end_ids, self._guide(sequence))

    def release(self, sequence: GenerationSequence) -> None:
        """Let go of what is kept for a sequence, if anything."""
        self._ledgers.pop(sequence, None)

    @torch.inference_mode()
    def sample(self, logits: torch.Tensor, rows: Sequence[Row]) -> list[Pick]:
        """One pick a row of float32 logits `[rows, vocabulary]`, which are used up. No row is lost for another one."""
        logits, asked = logits.contiguous(), _asked(rows)
        logprobs = Logprobs(logits, asked) if asked else None
        runs = self._runs(rows)
        if runs or not _all_greedy(rows):
            self._adjust(logits, rows, runs)
        ids = _picked(logits, rows)
        reported = logprobs.of(ids) if logprobs else {}
        picks = [Pick(id, reported.get(place)) for place, id in enumerate(ids)]
        return self._judged(picks, rows, runs) if runs else picks

    def _guide(self, sequence: GenerationSequence) -> Guide | None:
        params = sequence.params
        if params.structure is None:
            return None
        try:
            matcher = self._compiler.compile(params.structure)
        except StructureError as error:
            raise InvalidSubmission(f"sampling.{error}") from None
        return Guide(matcher, params, self._end_ids, self._vocabulary_size)

    def _runs(self, rows: Sequence[Row]) -> list[tuple[Ledger, range]]:
        """The ledgers, brought up to date, each with the places of its sequence's rows."""
        runs = []
        for sequence, places in groupby(range(len(rows)), key=lambda place: rows[place].sequence):
            run = list(places)
            if ledger := self._ledgers.get(sequence):
                ledger.follow(sequence)
                runs.append((ledger, range(run[0], run[-1] + 1)))
        return runs

    def _adjust(self, logits: torch.Tensor, rows: Sequence[Row], runs: Sequence[tuple[Ledger, range]]) -> None:
        adjustments = Adjustments(self._vocabulary_size)
        for ledger, places in runs:
            for place in places:
                _adjust_row(adjustments, ledger, place, rows[place])
            if ledger.guide is not None:
                masks = ledger.guide.masks([rows[place] for place in places])
                for place, mask in zip(places, masks, strict=False):
                    adjustments.mask(place, mask)
        adjustments.apply(logits)

    def _judged(self, picks: list[Pick], rows: Sequence[Row], runs: Sequence[tuple[Ledger, range]]) -> list[Pick]:
        """What the picks mean for the structures."""
        for guide, places in _guided(runs):
            at = slice(places.start, places.stop)
            complete = guide.completing(rows[at], [pick.id for pick in picks[at]])
            if complete is not None:
                pick = picks[places[complete]]
                picks[places[complete]] = Pick(pick.id, pick.logprob, complete=True)
            if guide.failure is not None:
                picks[at] = [Pick(pick.id, failure=guide.failure) for pick in picks[at]]
        return picks


def _asked(rows: Sequence[Row]) -> dict[int, int]:
    """The alternatives that are asked for, by row."""
    counts = ((place, row.sequence.params.logprobs) for place, row in enumerate(rows))
    return {place: count for place, count in counts if count is not None}


def _needs_ledger(sequence: GenerationSequence) -> bool:
    params = sequence.params
    return bool(params.has_penalties or params.logit_bias or params.min_tokens or params.structure)


def _guided(runs: Sequence[tuple[Ledger, range]]) -> Iterator[tuple[Guide, range]]:
    return ((ledger.guide, places) for ledger, places in runs if ledger.guide is not None)


def _adjust_row(adjustments: Adjustments, ledger: Ledger, place: int, row: Row) -> None:
    params = row.sequence.params
    if ledger.tally is not None:
        ids, counts = ledger.tally.after(row.guesses)
        off = params.presence_penalty * (counts > 0) + params.frequency_penalty * counts
        adjustments.penalize(place, ids, params.repetition_penalty, off.astype("float32"))
    if len(ledger.bias_ids):
        adjustments.bias(place, ledger.bias_ids, ledger.bias_values)
    if ledger.guide is None and row.position < params.min_tokens:
        adjustments.bar(place, ledger.ends)


def _all_greedy(rows: Sequence[Row]) -> bool:
    return all(row.sequence.params.is_greedy for row in rows)


def _picked(logits: torch.Tensor, rows: Sequence[Row]) -> list[int]:
    if _all_greedy(rows):
        return [int(id) for id in logits.argmax(dim=-1).tolist()]
    params = [row.sequence.params for row in rows]
    uniforms = [uniform(one.seed, row.position) for one, row in zip(params, rows, strict=True)]
    return draw(logits, Chances.of(params, uniforms))
