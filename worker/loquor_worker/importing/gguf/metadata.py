"""The settings in a GGUF file, read value by value, so that each refusal names the file and the key.

It does not know what the values mean, but remembers which were asked for: a setting that nobody reads may be one that
changes what the model computes.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from loquor_worker.importing.errors import ConversionFailed
from loquor_worker.importing.gguf.refusal import refused, shown

Value = bool | int | float | str | Sequence[int] | Sequence[float] | Sequence[str]

_MOST = 2**31 - 1


class Metadata:
    """Keys and values. Numbers may be of any width, but a flag is no number."""

    def __init__(self, file: Path, values: Mapping[str, Value]) -> None:
        self.file = file
        self._values = values
        self._asked: set[str] = set()

    def integer(self, key: str, default: int | None = None, *, least: int = 1, most: int = _MOST) -> int:
        """A whole number between two bounds. A list of one for each layer counts as one number, if all are equal."""
        value = self._value(key, default)
        if not isinstance(value, str | bool | int | float) and len(set(value)) == 1:
            value = value[0]
        if type(value) is not int or not least <= value <= most:
            raise self.refuse(key, f"{_shown(value)} is not a whole number from {least} to {most}")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """A finite number greater than zero."""
        value = self._value(key, default)
        if type(value) not in (int, float) or not 0.0 < float(value) < math.inf:  # type: ignore[arg-type]
            raise self.refuse(key, f"{_shown(value)} is not a number greater than zero")
        return float(value)  # type: ignore[arg-type]

    def flag(self, key: str, default: bool) -> bool:
        value = self._value(key, default)
        if not isinstance(value, bool):
            raise self.refuse(key, f"{_shown(value)} is neither true nor false")
        return value

    def text(self, key: str, default: str | None = None) -> str:
        value = self._value(key, default)
        if not isinstance(value, str):
            raise self.refuse(key, f"{_shown(value)} is not a text")
        return value

    def texts(self, key: str) -> Sequence[str]:
        value = self._value(key, None)
        if not isinstance(value, list):
            raise self.refuse(key, f"{_shown(value)} is not a list of texts")
        return value

    def numbers(self, key: str) -> Sequence[float]:
        """A list of numbers of any kind."""
        value = self._value(key, None)
        if isinstance(value, str | bool | int | float | list):
            raise self.refuse(key, f"{_shown(value)} is not a list of numbers")
        return value  # type: ignore[return-value]

    def has(self, key: str) -> bool:
        self._asked.add(key)
        return key in self._values

    def unread(self, prefix: str) -> Iterator[str]:
        """Keys that begin so and were never asked for."""
        return (key for key in self._values if key.startswith(prefix) and key not in self._asked)

    def refuse(self, key: str, why: str) -> ConversionFailed:
        return refused(self.file, key, why)

    def _value(self, key: str, default: Value | None) -> Value:
        self._asked.add(key)
        value = self._values.get(key, default)
        if value is None:
            raise self.refuse(key, "missing")
        return value


def _shown(value: Value) -> str:
    """A value as one may show it, however long it is."""
    if isinstance(value, str):
        return shown(value)
    return str(value) if isinstance(value, bool | int | float) else f"a list of {len(value)}"
