"""All architectures, found by what the file says."""

from loquor_worker.importing.gguf.architectures import Architecture
from loquor_worker.importing.gguf.architectures.gemma import GEMMA, GEMMA2, GEMMA3
from loquor_worker.importing.gguf.architectures.gpt2 import GPT2
from loquor_worker.importing.gguf.architectures.llama import LLAMA
from loquor_worker.importing.gguf.architectures.phi import PHI3
from loquor_worker.importing.gguf.architectures.qwen import QWEN2, QWEN3
from loquor_worker.importing.gguf.metadata import Metadata
from loquor_worker.importing.gguf.refusal import shown

ARCHITECTURES = {known.name: known for known in (LLAMA, QWEN2, QWEN3, GEMMA, GEMMA2, GEMMA3, PHI3, GPT2)}
_KEY, _PARTS = "general.architecture", "split.count"


def architecture_of(metadata: Metadata) -> Architecture:
    """Raises `ConversionFailed` for an architecture that has no table, and for one part of a model in several files."""
    name = metadata.text(_KEY)
    if name not in ARCHITECTURES:
        raise metadata.refuse(_KEY, f"{shown(name)} is not one of {', '.join(ARCHITECTURES)}")
    if (parts := metadata.integer(_PARTS, 1, least=0)) > 1:
        raise metadata.refuse(_PARTS, f"this is one of {parts} files; join them with `llama-gguf-split --merge` first")
    return ARCHITECTURES[name]
