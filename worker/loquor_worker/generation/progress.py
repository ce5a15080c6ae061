"""What one step meant for one sequence: which of the produced tokens count, and whether it ended."""

from dataclasses import dataclass
from enum import Enum

from loquor_worker.generation.sequence import GenerationSequence
from loquor_worker.generation.step import Chunk, Failed, FailureKind, Outcome, Produced, TokenLogprob


class FinishReason(Enum):
    """STOP: an end token, a stop token or a complete structure. LENGTH: `max_tokens`."""

    STOP = "stop"
    LENGTH = "length"


@dataclass(slots=True, eq=False)
class Progress:
    """`new_ids` go without the token that ended it; `logprobs` has one entry an id, where asked for.

    The last progress of a sequence has `finish` or `failed`. `preemptions` are those since the last progress;
    `cached_prompt_tokens` comes with the first one and is 0 in the others.
    """

    sequence: GenerationSequence
    new_ids: list[int]
    logprobs: list[TokenLogprob]
    finish: FinishReason | None = None
    failed: Failed | None = None
    draft_tokens: int = 0
    accepted_draft_tokens: int = 0
    preemptions: int = 0
    cached_prompt_tokens: int = 0

    @property
    def is_last(self) -> bool:
        return self.finish is not None or self.failed is not None


def checked(chunk: Chunk, outcome: Outcome) -> Outcome:
    """The outcome, or a failure where it cannot be the outcome of this chunk and would spoil the books."""
    if isinstance(outcome, Failed) or not chunk.samples:
        return outcome
    accepted = len(outcome.ids) - 1
    if not 0 <= accepted <= chunk.drafts:
        return Failed(FailureKind.ENGINE, f"{len(outcome.ids)} tokens were produced where {chunk.drafts} were guessed")
    first = len(chunk.tokens) - chunk.drafts
    if accepted and outcome.ids[:-1] != chunk.tokens[first : first + accepted]:
        return Failed(FailureKind.ENGINE, "tokens were produced as guessed that were not")
    return outcome


def write(chunk: Chunk, produced: Produced, end_ids: frozenset[int]) -> Progress:
    """Append what was produced to the sequence's tokens, one by one up to the end; what follows an end is dropped.

    An end token or a stop token is none before `min_tokens`; the first of them is not written.
    """
    sequence, finish = chunk.sequence, None
    first, tokens, last = len(sequence.tokens), sequence.tokens, len(produced.ids) - 1
    for index, id in enumerate(produced.ids):
        if _ends(sequence, id, end_ids):
            finish = FinishReason.STOP
            break
        tokens.append(id)
        finish = _finish(sequence, produced.complete and index == last)
        if finish:
            break
    new_ids = tokens[first:]
    return Progress(
        sequence,
        new_ids,
        produced.logprobs[: len(new_ids)],
        finish,
        draft_tokens=chunk.drafts,
        accepted_draft_tokens=min(last, len(new_ids)),
        cached_prompt_tokens=sequence.cached_prompt_tokens if first == sequence.prompt_tokens else 0,
    )


def _ends(sequence: GenerationSequence, id: int, end_ids: frozenset[int]) -> bool:
    params = sequence.params
    if id not in params.stop_token_ids and (params.ignore_eos or id not in end_ids):
        return False
    return sequence.output_tokens >= params.min_tokens


def _finish(sequence: GenerationSequence, is_complete: bool) -> FinishReason | None:
    if is_complete:
        return FinishReason.STOP
    return FinishReason.LENGTH if sequence.is_ended_by_length else None
