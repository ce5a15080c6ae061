"""Which layers see all tokens and which a window only, by the names that newer files list."""

from collections.abc import Callable

from loquor_worker.models.json_file import JsonFile

GLOBAL, LOCAL = "full_attention", "sliding_attention"


def layer_kinds(config: JsonFile, layers: int, is_local: Callable[[int], bool]) -> list[str]:
    """The kind of each layer; `is_local` says it where the file does not list them."""
    if not config.has("layer_types"):
        return [LOCAL if is_local(layer) else GLOBAL for layer in range(layers)]
    kinds = config.items("layer_types")
    if len(kinds) != layers or not set(kinds) <= {GLOBAL, LOCAL}:
        raise config.refuse("layer_types", f"{layers} values of {GLOBAL!r} or {LOCAL!r} were expected")
    return kinds


def window_tokens(config: JsonFile, default: int | None = None) -> int:
    """The tokens of a window, with its own."""
    tokens = config.integer("sliding_window", default)
    if tokens <= 0:
        raise config.refuse("sliding_window", f"{tokens} is not above 0")
    return tokens


def windows(kinds: list[str], tokens: int | None) -> tuple[int | None, ...]:
    """For layers of these kinds how many tokens before its own each sees, of a window of `tokens` with its own."""
    return tuple(tokens - 1 if kind == LOCAL and tokens is not None else None for kind in kinds)
