"""Makes the modules of one checkpoint: its transformer and the head for a task, with their weights in place.

It knows the tables and the files; it knows no engine and no request.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import nn

from loquor_worker.checkpoint import Checkpoint
from loquor_worker.models import onednn
from loquor_worker.models.config import ModelConfig
from loquor_worker.models.families import HeadTable, layer_stems
from loquor_worker.models.families.table import family_of
from loquor_worker.models.heads import EmbeddingHead, LabelHead, SequenceHead, TokenHead
from loquor_worker.models.json_file import JsonFile
from loquor_worker.models.kernels import choose_attention
from loquor_worker.models.parts import ACTIVATIONS, Linear
from loquor_worker.models.sentence_files import EmbeddingFiles, Projection
from loquor_worker.models.transformer import Transformer, make_norm
from loquor_worker.models.weights import fill


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

    def transformer(self) -> Transformer:
        family, config = family_of(self.file), self.config
        prefix = family.prefix if self.checkpoint.has_prefix(family.prefix) else ""
        attention = choose_attention(config, self.device, self.dtype)
        transformer = Transformer(config, attention)
        self._fill(transformer, layer_stems(family.stems, prefix, config.layers))
        if self.device.type == "cpu" and onednn.is_available(self.dtype):
            onednn.pack(transformer)
        return transformer

    def embedding_head(self, files: EmbeddingFiles) -> EmbeddingHead:
        return EmbeddingHead(files.pooling, [self._projection(part) for part in files.projections])

    def sequence_head(self) -> SequenceHead:
        table = family_of(self.file).sequence_head(self.file)
        return SequenceHead(table.pooling, self._label_head(table))

    def token_head(self) -> TokenHead:
        return TokenHead(self._label_head(family_of(self.file).token_head(self.file)))

    def _label_head(self, table: HeadTable) -> LabelHead:
        width, labels = self.config.hidden_size, self.checkpoint.shape(f"{table.output}.weight")[0]
        head = LabelHead(
            Linear(width, labels, bias=True),
            Linear(width, width, bias=table.dense_bias, activation=table.activation) if table.dense else None,
            make_norm(self.config) if table.norm else None,
        )
        parts = {"output": table.output, "dense": table.dense, "norm": table.norm}
        self._fill(head, {ours: (theirs,) for ours, theirs in parts.items() if theirs})
        return head

    def _projection(self, files: Projection) -> Linear:
        """A Dense module of sentence-transformers has a checkpoint of its own."""
        linear = Linear(files.inputs, files.outputs, bias=files.bias, activation=files.activation)
        stems = {"": ("linear",)}
        fill(linear, Checkpoint(files.folder), stems, device=self.device, dtype=self.dtype)
        return linear

    def _fill(self, module: nn.Module, stems: dict[str, tuple[str, ...]]) -> None:
        fill(module, self.checkpoint, stems, device=self.device, dtype=self.dtype)
