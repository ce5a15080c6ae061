"""Reads how positions turn queries and keys, from newer files (`rope_parameters`) and older ones (`rope_scaling`).

It knows the keys of `config.json`, and no family.
"""

import math
from collections.abc import Callable

from loquor_worker.models.json_file import JsonFile
from loquor_worker.models.rope import BandStretch, LinearStretch, LongStretch, Rope, Stretch, YarnStretch


def read_rope(
    config: JsonFile, head_size: int, *, base: float = 10_000.0, share: float = 1.0, kind: str | None = None
) -> Rope:
    """`base` and the `share` of a head that turns are what the family has where the file does not say.

    `kind` names the layers' kind in files that have a rope for each.
    """
    values = rope_values(config)
    if kind is not None and values.has(kind):
        values = values.child(kind)
    share = values.number("partial_rotary_factor", config.number("partial_rotary_factor", share))
    size = int(head_size * share)
    if size % 2 or not 0 < size <= head_size:
        raise config.refuse("partial_rotary_factor", f"{size} elements of a head of {head_size} do not turn in pairs")
    base = values.number("rope_theta", config.number("rope_theta", base))
    if base <= 1:
        raise config.refuse("rope_theta", f"{base} is not above 1")
    stretch = STRETCHES[values.one_of("rope_type", tuple(STRETCHES), values.text("type", "default"))]
    return Rope(base, size, stretch(config, values, size))


def rope_values(config: JsonFile) -> JsonFile:
    return config.child("rope_scaling" if config.has("rope_scaling") else "rope_parameters")


def served_positions(config: JsonFile, default: int | None = None) -> int:
    """The longest sequence. Files with YaRN may name the length before it was stretched."""
    positions = config.integer("max_position_embeddings", default)
    values = rope_values(config)
    if values.text("rope_type", values.text("type", "default")) != "yarn":
        return positions
    return max(positions, int(_trained(config, values) * _factor(values)))


def _factor(values: JsonFile) -> float:
    factor = values.number("factor")
    if factor <= 0:
        raise values.refuse("factor", f"{factor} is not above 0")
    return factor


def _trained(config: JsonFile, values: JsonFile) -> int:
    """The length of texts before the frequencies were stretched."""
    key = "original_max_position_embeddings"
    return config.integer(key, values.integer(key, config.integer("max_position_embeddings")))


def _plain(_config: JsonFile, _values: JsonFile, _size: int) -> None:
    """Also `dynamic`: it changes nothing up to `max_position_embeddings`, and longer sequences are refused."""


def _linear(_config: JsonFile, values: JsonFile, _size: int) -> Stretch:
    return LinearStretch(_factor(values))


def _llama3(config: JsonFile, values: JsonFile, _size: int) -> Stretch:
    low, high = values.number("low_freq_factor"), values.number("high_freq_factor")
    if low >= high:
        raise values.refuse("low_freq_factor", f"{low} is not below high_freq_factor, {high}")
    return BandStretch(_factor(values), low, high, _trained(config, values))


def _yarn(config: JsonFile, values: JsonFile, _size: int) -> Stretch:
    factor = _factor(values)
    return YarnStretch(
        factor=factor,
        amplitude=values.number("attention_factor", _yarn_amplitude(values, factor)),
        fast=values.number("beta_fast", 32.0),
        slow=values.number("beta_slow", 1.0),
        trained=_trained(config, values),
        whole=values.flag("truncate", True),
    )


def _yarn_amplitude(values: JsonFile, factor: float) -> float:
    def of(weight: float) -> float:
        return 1.0 if factor <= 1 else 0.1 * weight * math.log(factor) + 1.0

    above, below = values.number("mscale", 0.0), values.number("mscale_all_dim", 0.0)
    return of(above) / of(below) if above and below else of(1.0)


def _longrope(config: JsonFile, values: JsonFile, size: int) -> Stretch:
    trained = _trained(config, values)
    factor = values.number("factor", config.integer("max_position_embeddings") / trained)
    amplitude = math.sqrt(1 + math.log(factor) / math.log(trained)) if factor > 1 else 1.0
    return LongStretch(
        short=_divisors(values, "short_factor", size // 2),
        long=_divisors(values, "long_factor", size // 2),
        trained=trained,
        amplitude=values.number("attention_factor", amplitude),
    )


def _divisors(values: JsonFile, key: str, count: int) -> tuple[float, ...]:
    numbers = values.items(key)
    if len(numbers) != count or not all(type(number) in (int, float) and number > 0 for number in numbers):
        raise values.refuse(key, f"{count} positive numbers were expected")
    return tuple(float(number) for number in numbers)


STRETCHES: dict[str, Callable[[JsonFile, JsonFile, int], Stretch | None]] = {
    "default": _plain,
    "dynamic": _plain,
    "linear": _linear,
    "llama3": _llama3,
    "yarn": _yarn,
    "longrope": _longrope,
    "su": _longrope,
}
