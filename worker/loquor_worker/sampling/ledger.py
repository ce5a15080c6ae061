"""What the sampler keeps for one sequence. It follows the sequence's tokens, whatever step they came from."""

import numpy as np
import numpy.typing as npt

from loquor_worker.generation.sequence import GenerationSequence
from loquor_worker.sampling.guide import Guide
from loquor_worker.sampling.tally import Ids, Tally


class Ledger:
    """`ends` are the tokens that end this text; there is a `tally` or a `guide` only where one is needed."""

    def __init__(self, sequence: GenerationSequence, end_ids: frozenset[int], guide: Guide | None = None) -> None:
        params = sequence.params
        ends = params.stop_token_ids if params.ignore_eos else params.stop_token_ids | end_ids
        self.ends: Ids = np.array(sorted(ends), np.int64)
        self.bias_ids: Ids = np.array(list(params.logit_bias.keys()), np.int64)
        self.bias_values: npt.NDArray[np.float32] = np.array(list(params.logit_bias.values()), np.float32)
        self.tally = _tally(sequence) if params.has_penalties else None
        self.guide = guide
        self._read = sequence.prompt_tokens

    def follow(self, sequence: GenerationSequence) -> None:
        """Take in what has been written since the last time."""
        if self._read == len(sequence.tokens):
            return
        written = sequence.tokens[self._read :]
        self._read = len(sequence.tokens)
        if self.tally is not None:
            self.tally.write(written)
        if self.guide is not None:
            self.guide.accept(written)


def _tally(sequence: GenerationSequence) -> Tally:
    """The prompt counts for the repetition penalty alone."""
    is_needed = sequence.params.repetition_penalty != 1.0
    return Tally(sequence.tokens[: sequence.prompt_tokens] if is_needed else ())
