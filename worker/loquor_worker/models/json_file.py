"""A JSON file of a model's folder, read value by value, so that each refusal names the file and the key.

It does not know what the values mean.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from loquor_worker.engines import LoadError

T = TypeVar("T", int, float, bool, str)


def read_json(path: Path) -> Any:
    """Read a JSON file of any shape."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise LoadError(f"{path}: the file is missing") from None
    except (OSError, ValueError) as error:
        raise LoadError(f"{path}: not readable as JSON: {error}") from None


class JsonFile:
    """One JSON object. `null` counts as absent, as in Hugging Face's own files."""

    def __init__(self, path: Path, values: Mapping[str, Any] | None = None) -> None:
        self.path = path
        self._values = read_json(path) if values is None else values
        if not isinstance(self._values, Mapping):
            raise LoadError(f"{path}: a JSON object was expected")

    def integer(self, key: str, default: int | None = None) -> int:
        return self._scalar(key, int, default)

    def number(self, key: str, default: float | None = None) -> float:
        value = self._values.get(key)
        return float(value) if type(value) is int else self._scalar(key, float, default)

    def flag(self, key: str, default: bool | None = None) -> bool:
        return self._scalar(key, bool, default)

    def text(self, key: str, default: str | None = None) -> str:
        return self._scalar(key, str, default)

    def one_of(self, key: str, choices: tuple[str, ...], default: str | None = None) -> str:
        """A text that must be one of a few."""
        value = self.text(key, default)
        if value not in choices:
            raise self.refuse(key, f"{value!r} is not one of {', '.join(choices)}")
        return value

    def has(self, key: str) -> bool:
        return self._values.get(key) is not None

    def child(self, key: str) -> "JsonFile":
        """The object under a key; an empty one if absent."""
        value = self._values.get(key)
        return JsonFile(self.path, {} if value is None else value)

    def items(self, key: str) -> list[Any]:
        """The list under a key; an empty one if absent."""
        value = self._values.get(key)
        if value is not None and not isinstance(value, list):
            raise self.refuse(key, "a list was expected")
        return value or []

    def integers(self, key: str) -> list[int]:
        """The whole numbers under a key, one or a list of them; an empty list if absent."""
        value = self._values.get(key)
        values = value if isinstance(value, list) else [] if value is None else [value]
        if any(type(one) is not int for one in values):
            raise self.refuse(key, f"{value!r} is neither a whole number nor a list of them")
        return values

    def names(self) -> list[str]:
        """All keys."""
        return list(self._values)

    def demand(self, key: str, expected: T, default: T) -> None:
        """Refuse any value but one."""
        value = self._scalar(key, type(expected), default)
        if value != expected:
            raise self.refuse(key, f"{value!r} is not supported, only {expected!r}")

    def refuse(self, key: str, why: str) -> LoadError:
        return LoadError(f"{self.path}: {key}: {why}")

    def _scalar(self, key: str, kind: type[T], default: T | None) -> T:
        value = self._values.get(key)
        if value is None:
            if default is None:
                raise self.refuse(key, "the value is missing")
            return default
        if type(value) is not kind:
            raise self.refuse(key, f"{value!r} is not of type {kind.__name__}")
        return value
