"""What most architectures' settings have in common, and what must not be in any of them."""

from loquor_worker.importing.gguf.architectures import Configuration, key_of
from loquor_worker.importing.gguf.header import Header
from loquor_worker.importing.gguf.metadata import Metadata
from loquor_worker.importing.gguf.refusal import refused

_MAX_LAYERS = 1024
_MAX_WIDTH = 1 << 20
EMBEDDINGS = "token_embd.weight"
OUTPUT = "output.weight"


class Settings:
    """The settings of one decoder. Every width and count in them is checked against a bound."""

    def __init__(self, header: Header) -> None:
        self.header = header
        self.metadata: Metadata = header.metadata

    def key(self, name: str) -> str:
        return key_of(self.metadata, name)

    def has(self, name: str) -> bool:
        return self.metadata.has(self.key(name))

    def number(self, name: str, default: float | None = None) -> float:
        return self.metadata.number(self.key(name), default)

    def integer(self, name: str, default: int | None = None, *, least: int = 1) -> int:
        return self.metadata.integer(self.key(name), default, least=least)

    def demand(self, name: str, expected: int) -> None:
        """Refuse any value but one; a missing one is it."""
        if (found := self.integer(name, expected, least=0)) != expected:
            raise self.metadata.refuse(self.key(name), f"{found} is not supported, only {expected}")

    @property
    def layers(self) -> int:
        return self.metadata.integer(self.key("block_count"), most=_MAX_LAYERS)

    @property
    def hidden(self) -> int:
        return self.metadata.integer(self.key("embedding_length"), most=_MAX_WIDTH)

    @property
    def heads(self) -> int:
        return self.metadata.integer(self.key("attention.head_count"), most=_MAX_WIDTH)

    @property
    def key_value_heads(self) -> int:
        return self.metadata.integer(self.key("attention.head_count_kv"), self.heads, most=_MAX_WIDTH)

    @property
    def intermediate(self) -> int:
        return self.metadata.integer(self.key("feed_forward_length"), most=_MAX_WIDTH)

    @property
    def head_size(self) -> int:
        """Keys and values are equally wide in Hugging Face's models."""
        size = self.metadata.integer(self.key("attention.key_length"), self.hidden // self.heads, most=_MAX_WIDTH)
        self.demand("attention.value_length", size)
        return size

    @property
    def vocabulary_size(self) -> int:
        """The embeddings' rows, which may be more than the tokens."""
        embeddings = self.header.tensors.get(EMBEDDINGS)
        if embeddings is None or len(embeddings.shape) != 2:
            raise refused(self.header.file, f"tensor {EMBEDDINGS!r}", "missing, or not a matrix")
        rows = embeddings.shape[0]
        self.demand("vocab_size", rows)
        return rows

    def any_tensor(self, ending: str) -> bool:
        return any(name.endswith(ending) for name in self.header.tensors)


def configure(settings: Settings, model_type: str, architecture: str) -> Configuration:
    """The keys that all but GPT-2 share. Mixtures of experts are refused."""
    settings.demand("expert_count", 0)
    settings.demand("expert_used_count", 0)
    return {
        "architectures": [architecture],
        "model_type": model_type,
        "hidden_size": settings.hidden,
        "intermediate_size": settings.intermediate,
        "num_hidden_layers": settings.layers,
        "num_attention_heads": settings.heads,
        "num_key_value_heads": settings.key_value_heads,
        "hidden_act": "silu",
        "rms_norm_eps": settings.number("attention.layer_norm_rms_epsilon"),
        "max_position_embeddings": settings.integer("context_length"),
        "rope_theta": settings.number("rope.freq_base", 10_000.0),
        "vocab_size": settings.vocabulary_size,
        "tie_word_embeddings": OUTPUT not in settings.header.tensors,
        "use_cache": True,
    }


def demand_whole_rotation(settings: Settings) -> None:
    """Refuse a head of which only a part is rotated."""
    settings.demand("rope.dimension_count", settings.head_size)
