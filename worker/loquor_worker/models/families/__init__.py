"""Checkpoint families: each a table that maps its `config.json` and its names of weights onto the one transformer.

A stem is a weight's name without `.weight` and `.bias`. A tuple of stems is joined along the first axis. `{layer}`
stands for the number of the layer.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from loquor_worker.models.config import ModelConfig
from loquor_worker.models.json_file import JsonFile
from loquor_worker.models.pooling import Pooling

Stems = Mapping[str, str | tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class HeadTable:
    """A classification head's parts and their stems, which are whole: no prefix is put before them."""

    output: str
    # A projection with an activation before the output, and a norm after it.
    dense: str | None = None
    dense_bias: bool = True
    activation: str = "tanh"
    norm: str | None = None
    # For one label a sequence.
    pooling: Pooling = Pooling.CLS


def no_labels(config: JsonFile) -> HeadTable:
    """The head of a family that has none for labels."""
    raise config.refuse("model_type", f"{config.text('model_type')!r} models are not served with a head for labels")


@dataclass(frozen=True, slots=True)
class Family:
    """One table. `model_types` are the values of `model_type` in `config.json` that it serves."""

    model_types: tuple[str, ...]
    # What task checkpoints put before the transformer's own names.
    prefix: str
    configure: Callable[[JsonFile], ModelConfig]
    stems: Stems
    sequence_head: Callable[[JsonFile], HeadTable] = no_labels
    token_head: Callable[[JsonFile], HeadTable] = no_labels
    # The language head's stem, which is whole; what a tied head has there is not read.
    language_head: str = "lm_head"
    # Those of `stems` whose weights are [inputs, outputs] in the checkpoint.
    turned: tuple[str, ...] = ()


def layer_stems(stems: Stems, prefix: str, layers: int) -> dict[str, tuple[str, ...]]:
    """A table written out for every layer."""
    written = {}
    for ours, theirs in stems.items():
        parts = (theirs,) if isinstance(theirs, str) else theirs
        for layer in range(layers) if "{layer}" in ours else (0,):
            written[ours.format(layer=layer)] = tuple(prefix + part.format(layer=layer) for part in parts)
    return written
