"""Makes the modules of one checkpoint: its transformer and the head for a task, with their weights in place.

It knows the tables and the files; it knows no engine and no request.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from loquor_worker.checkpoint import Checkpoint
from loquor_worker.models.attention import Attention
from loquor_worker.models.config import ModelConfig
from loquor_worker.models.families import HeadTable
from loquor_worker.models.families.table import family_of
from loquor_worker.models.heads import Dense, EmbeddingHead, LabelHead, SequenceHead, TokenHead
from loquor_worker.models.json_file import JsonFile
from loquor_worker.models.sentence_files import EmbeddingFiles, Projection
from loquor_worker.models.transformer import ACTIVATIONS, Transformer, make_norm
from loquor_worker.models.weights import fill

M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class Assembly:
    """One checkpoint on one device in one dtype."""

    folder: Path
    device: torch.device
    dtype: torch.dtype

    @cached_property
    def file(self) -> JsonFile:
        return JsonFile(self.folder / "config.json")

    @cached_property
    def config(self) -> ModelConfig:
        config = family_of(self.file).configure(self.file)
        if config.activation not in ACTIVATIONS:
            raise self.file.refuse("hidden_act", f"{config.activation!r} is not one of {', '.join(ACTIVATIONS)}")
        return config

    @cached_property
    def checkpoint(self) -> Checkpoint:
        return Checkpoint(self.folder)

    def transformer(self, attention: Attention) -> Transformer:
        family = family_of(self.file)
        prefix = family.prefix if self.checkpoint.has_prefix(family.prefix) else ""
        module = Transformer(self.config, attention)
        stems = {}
        for ours, theirs in family.stems.items():
            for layer in range(self.config.layers):
                parts = (theirs,) if isinstance(theirs, str) else theirs
                stems[ours.format(layer=layer)] = tuple(prefix + part.format(layer=layer) for part in parts)
        return self._filled(module, stems)

    def embedding_head(self, files: EmbeddingFiles) -> EmbeddingHead:
        return EmbeddingHead(files.pooling, [self._dense(projection) for projection in files.projections])

    def sequence_head(self) -> SequenceHead:
        table = family_of(self.file).sequence_head(self.file)
        return SequenceHead(table.pooling, self._label_head(table))

    def token_head(self) -> TokenHead:
        return TokenHead(self._label_head(family_of(self.file).token_head(self.file)))

    def _label_head(self, table: HeadTable) -> LabelHead:
        labels = self.checkpoint.shape(f"{table.output}.weight")[0]
        module = LabelHead(
            self.config.hidden_size,
            labels,
            activation=table.activation if table.dense else None,
            dense_bias=table.dense_bias,
            norm=make_norm(self.config) if table.norm else None,
        )
        parts = {"output": table.output, "dense": table.dense, "norm": table.norm}
        return self._filled(module, {ours: (theirs,) for ours, theirs in parts.items() if theirs})

    def _dense(self, projection: Projection) -> Dense:
        module = Dense(projection.inputs, projection.outputs, projection.activation, bias=projection.bias)
        fill(module, Checkpoint(projection.folder), {"linear": ("linear",)}, device=self.device, dtype=self.dtype)
        return module

    def _filled(self, module: M, stems: dict[str, tuple[str, ...]]) -> M:
        fill(module, self.checkpoint, stems, device=self.device, dtype=self.dtype)
        return module
