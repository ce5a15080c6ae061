"""Which JSON schemas and regular expressions are small enough to be worked with, told by their form alone.

The front asks before it queues a request and the worker before it compiles. It takes milliseconds at the most, needs
nothing installed, and knows neither the meaning of a schema nor all rules of an expression: those the compiler refuses.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, NoReturn

MOST_SCHEMA_BYTES = 64 * 1024
MOST_REGEX_BYTES = 4 * 1024
# Objects and arrays inside one another, and groups of an expression.
MOST_LEVELS = 32
MOST_PROPERTIES = 512
MOST_ENUM_VALUES = 4096
# Characters and classes of an expression once every counted repetition is written out, as it is in a compiled one.
MOST_EXPANDED = 10_000

_JSON_SCHEMA, _REGEX = "json_schema", "regex"
# Values that are data and not schemas.
_DATA = frozenset({"enum", "const", "default", "examples"})
_TOKEN = re.compile(r"\\[pPx]\{[^}]*\}|\\.|\[\^?\]?(?:\\.|\[:\^?\w+:\]|[^\]\\])*\]|\{(\d+)(,(\d*))?\}|.", re.DOTALL)


class StructureError(ValueError):
    """`field` is the name in `SamplingParams`; `reason` goes to the caller as it is."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


def check_json_schema(text: str) -> None:
    """Raises `StructureError`."""
    _check_size(_JSON_SCHEMA, text, MOST_SCHEMA_BYTES)
    schema = _parsed(text)
    if not isinstance(schema, dict | bool):
        raise StructureError(_JSON_SCHEMA, "a schema is an object, true or false")
    properties = enum_values = expanded = 0
    for key, value in _members(schema):
        if key == "x-guidance":
            raise StructureError(_JSON_SCHEMA, "the keyword x-guidance is not taken")
        if key in ("properties", "patternProperties") and isinstance(value, dict):
            properties += len(value)
        if key == "enum" and isinstance(value, list):
            enum_values += len(value)
        expanded += sum(_expanded(_JSON_SCHEMA, pattern) for pattern in _patterns(key, value))
    _check_most(_JSON_SCHEMA, "properties", properties, MOST_PROPERTIES)
    _check_most(_JSON_SCHEMA, "enum values", enum_values, MOST_ENUM_VALUES)
    _check_most(_JSON_SCHEMA, "repetitions in patterns", expanded, MOST_EXPANDED)


def check_regex(text: str) -> None:
    """Raises `StructureError`."""
    _check_size(_REGEX, text, MOST_REGEX_BYTES)
    if not text:
        raise StructureError(_REGEX, "it is empty")
    _check_most(_REGEX, "repetitions", _expanded(_REGEX, text), MOST_EXPANDED)


def _check_size(field: str, text: str, most: int) -> None:
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > most:
        raise StructureError(field, f"{size} bytes, at most {most} are taken")


def _check_most(field: str, what: str, found: int, most: int) -> None:
    if found > most:
        raise StructureError(field, f"{found} {what}, at most {most} are taken")


def _parsed(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise _too_deep(_JSON_SCHEMA) from None
    except ValueError as error:
        raise StructureError(_JSON_SCHEMA, f"it is not JSON: {str(error)[:200]}") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a value")


def _too_deep(field: str) -> StructureError:
    return StructureError(field, f"more than {MOST_LEVELS} levels deep")


def _members(schema: Any) -> Iterator[tuple[str, Any]]:
    """The keys and values of all objects that may be schemas. Data is measured in its depth alone."""
    waiting = [(schema, 1, False)]
    while waiting:
        value, level, is_data = waiting.pop()
        if not isinstance(value, dict | list):
            continue
        if level > MOST_LEVELS:
            raise _too_deep(_JSON_SCHEMA)
        if isinstance(value, list):
            waiting.extend((one, level + 1, is_data) for one in value)
            continue
        if not is_data:
            yield from value.items()
        waiting.extend((one, level + 1, is_data or _is_data(key, one)) for key, one in value.items())


def _is_data(key: str, value: Any) -> bool:
    """A property may have such a name, too: its value is then an object, which is looked at as a schema."""
    return key in _DATA and not isinstance(value, dict)


def _patterns(key: str, value: Any) -> Iterator[str]:
    if key == "pattern" and isinstance(value, str):
        yield value
    if key == "patternProperties" and isinstance(value, dict):
        yield from value


def _expanded(field: str, pattern: str) -> int:
    """How long the expression is with every `{m,n}` written out. A repetition without an end counts as its start."""
    _check_size(field, pattern, MOST_REGEX_BYTES)
    sums, last = [0], 0
    for token in _TOKEN.finditer(pattern):
        text, least, bounds, most = token.group(), token[1], token[2], token[3]
        if text == "(":
            sums.append(0)
            if len(sums) > MOST_LEVELS:
                raise _too_deep(field)
            last = 0
        elif text == ")" and len(sums) > 1:
            last = sums.pop()
            sums[-1] += last
        elif least is not None:
            times = max(int(most or least), 1) if bounds else max(int(least), 1)
            sums[-1] += last * (times - 1)
            last *= times
        elif text not in "*+?|":
            last = 1
            sums[-1] += 1
    return sum(sums)
