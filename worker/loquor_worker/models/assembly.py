"""Makes the modules of one checkpoint: its transformer and the head for a task, with their weights in place.

It knows the tables and the files; it knows no engine and no request.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import nn

from loquor_worker.checkpoint import Checkpoint
from loquor_worker.models import onednn
from loquor_worker.models.attention import Attention
from loquor_worker.models.config import ModelConfig
from loquor_worker.models.families import HeadTable, layer_stems
from loquor_worker.models.families.table import family_of
from loquor_worker.models.heads import EmbeddingHead, LabelHead, LanguageHead, SequenceHead, TokenHead
from loquor_worker.models.json_file import JsonFile
from loquor_worker.models.kernels import choose_attention
from loquor_worker.models.layers import make_norm
from loquor_worker.models.parts import ACTIVATIONS, Linear
from loquor_worker.models.sentence_files import EmbeddingFiles, Projection
from loquor_worker.models.transformer import Transformer
from loquor_worker.models.weights import fill

# How the names of architectures end that have a language head.
LANGUAGE_MODELS = ("ForCausalLM", "LMHeadModel")


@dataclass(frozen=True)
class Assembly:
    """One checkpoint on one device in one dtype."""

    folder: Path
    device: torch.device
    dtype: torch.dtype
    # The longest sequence that will be asked for; None: as long as the positions allow.
    max_tokens: int | None = None

    @cached_property
    def file(self) -> JsonFile:
        return JsonFile(self.folder / "config.json")

    @cached_property
    def config(self) -> ModelConfig:
        config = family_of(self.file).configure(self.file)
        if config.activation not in ACTIVATIONS:
            raise self.file.refuse("hidden_act", f"{config.activation!r} is not one of {', '.join(ACTIVATIONS)}")
        return replace(config, max_positions=min(config.max_positions, self.max_tokens or config.max_positions))

    @cached_property
    def is_decoder(self) -> bool:
        """Whether the model can be asked for the next token."""
        architectures = [str(name) for name in self.file.items("architectures")]
        return self.config.causal and (
            not architectures or any(name.endswith(LANGUAGE_MODELS) for name in architectures)
        )

    @cached_property
    def checkpoint(self) -> Checkpoint:
        return Checkpoint(self.folder)

    def transformer(self) -> Transformer:
        """Over a `Packing`, laid out for the device."""
        transformer = self._plain_transformer(choose_attention(self.config, self.device, self.dtype))
        self.pack(transformer)
        return transformer

    def language_model(self, attention: Attention | None = None) -> tuple[Transformer, LanguageHead]:
        """A decoder and its head with all projections as they are: `pack` them, or put others in their place.

        `attention` None takes a `Packing` and keeps nothing.
        """
        if not self.config.causal:
            raise self.file.refuse("model_type", f"{self.file.text('model_type')!r} models do not write text")
        transformer = self._plain_transformer(attention or choose_attention(self.config, self.device, self.dtype))
        head = LanguageHead(self.config)
        if self.config.tied_head:
            head.output.weight = transformer.embeddings.tokens.weight
        self._fill(head, {"output": (family_of(self.file).language_head,)})
        return transformer, head

    def pack(self, module: nn.Module, *, keeps_plain: bool = False) -> None:
        """Lay the projections of a module out for the device, as `onednn.pack`. For inference alone."""
        if self.device.type == "cpu" and onednn.is_available(self.dtype):
            onednn.pack(module, keeps_plain=keeps_plain)

    def _plain_transformer(self, attention: Attention) -> Transformer:
        family, layers = family_of(self.file), self.config.layers
        prefix = family.prefix if self.checkpoint.has_prefix(family.prefix) else ""
        transformer = Transformer(self.config, attention)
        turned = layer_stems(dict.fromkeys(family.turned, ()), "", layers)
        self._fill(transformer, layer_stems(family.stems, prefix, layers), turned)
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

    def _fill(self, module: nn.Module, stems: dict[str, tuple[str, ...]], turned: Collection[str] = ()) -> None:
        fill(module, self.checkpoint, stems, device=self.device, dtype=self.dtype, turned=turned)
