"""How rotary positions are stretched to longer texts, from GGUF's settings or from its tensors of factors.

The formula of the factors of Llama 3 is that of its reference code and of Hugging Face's `llama3`.
"""

import math
from typing import Any

from loquor_worker.importing.gguf.architectures.decoder import Settings
from loquor_worker.importing.gguf.refusal import refused
from loquor_worker.importing.gguf.values import read_floats

LLAMA3_FACTORS = "rope_freqs.weight"
# Llama 3's own, the only ones in use; the file has no more than the factors that follow from them.
_LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
_TOLERANCE = 1e-3


def scaling(settings: Settings) -> dict[str, Any] | None:
    """Hugging Face's `rope_scaling`, or None without any. Raises `ConversionFailed` for a kind that is not known."""
    # Whether the model was trained with it changes nothing in how it is used.
    settings.metadata.flag(settings.key("rope.scaling.finetuned"), False)
    kind_key = settings.key("rope.scaling.type")
    if settings.has("rope.scale_linear"):
        return {"rope_type": "linear", "factor": settings.number("rope.scale_linear")}
    match settings.metadata.text(kind_key, "none"):
        case "none":
            return None
        case "linear":
            return {"rope_type": "linear", "factor": settings.number("rope.scaling.factor")}
        case "yarn":
            return _yarn(settings)
        case kind:
            raise settings.metadata.refuse(kind_key, f"{kind[:100]!r} is not supported, only none, linear and yarn")


def _yarn(settings: Settings) -> dict[str, Any]:
    values = {
        "rope_type": "yarn",
        "factor": settings.number("rope.scaling.factor"),
        "original_max_position_embeddings": settings.integer("rope.scaling.original_context_length"),
    }
    for theirs in ("beta_fast", "beta_slow"):
        if settings.has(f"rope.scaling.yarn_{theirs}"):
            values[theirs] = settings.number(f"rope.scaling.yarn_{theirs}")
    return values


def llama3_scaling(settings: Settings, base: float) -> dict[str, Any]:
    """What Hugging Face calls `llama3`, found again from the factors, one for each pair of a head's elements."""
    info = settings.header.tensors[LLAMA3_FACTORS]
    if info.elements != settings.head_size // 2:
        raise refused(settings.header.file, f"tensor {LLAMA3_FACTORS!r}", "not one factor for each pair")
    factors = read_floats(settings.header.file, info)
    values = {"rope_type": "llama3", "factor": round(max(factors), 3)} | _LLAMA3
    for index, found in enumerate(factors):
        wavelength = 2 * math.pi * base ** (2 * index / settings.head_size)
        if not math.isclose(found, _llama3_factor(wavelength, values), rel_tol=_TOLERANCE):
            raise refused(settings.header.file, f"tensor {LLAMA3_FACTORS!r}", "its factors are not those of Llama 3")
    return values


def _llama3_factor(wavelength: float, values: dict[str, Any]) -> float:
    """By how much the frequency of this wavelength is divided: from 1 for short ones to `factor` for long ones."""
    low, high = float(values["low_freq_factor"]), float(values["high_freq_factor"])
    share = (float(values["original_max_position_embeddings"]) / wavelength - low) / (high - low)
    share = min(max(share, 0.0), 1.0)
    return 1 / ((1 - share) / float(values["factor"]) + share)
