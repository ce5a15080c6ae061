"""Which JSON schemas and regular expressions are small enough to be worked with, told by their form alone.

The front asks before it queues a request and the worker before it compiles. It takes milliseconds at the most, needs
nothing installed, and knows neither the meaning of a schema nor all rules of an expression: those the compiler refuses.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, NoReturn

MOST_SCHEMA_BYTES = 64 * 1024
MOST_REGEX_BYTES = 4 * 1024
# Objects and arrays inside one another, and groups of an expression.
MOST_LEVELS = 32
MOST_PROPERTIES = 512
MOST_ENUM_VALUES = 1024
# Characters and classes of an expression once every counted repetition is written out, as it is in a compiled one.
MOST_EXPANDED = 10_000
# The digits of all `multipleOf`, read as whole numbers: a compiled one has as many states.
MOST_MULTIPLES = 10_000

_JSON_SCHEMA, _REGEX = "json_schema", "regex"
_PROPERTIES, _ENUM, _PATTERNS, _MULTIPLES = (
    "properties",
    "enum values",
    "repetitions in patterns",
    "as the sum of what multipleOf says",
)
_MOST = {
    _PROPERTIES: MOST_PROPERTIES,
    _ENUM: MOST_ENUM_VALUES,
    _PATTERNS: MOST_EXPANDED,
    _MULTIPLES: MOST_MULTIPLES,
}
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
    if isinstance(schema, dict) and "x-guidance" in schema:
        raise StructureError(_JSON_SCHEMA, "the keyword x-guidance is not taken")
    found = Counter[str]()
    for key, value in _members(schema):
        found.update(_weighed(key, value))
    for what, most in _MOST.items():
        _check_most(_JSON_SCHEMA, what, found[what], most)


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
        raise StructureError(field, f"more than {most} {what}")


def _parsed(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except RecursionError:
        raise _too_deep(_JSON_SCHEMA) from None
    except ValueError as error:
        raise StructureError(_JSON_SCHEMA, f"it is not JSON: {str(error)[:200]}") from None


def _refuse(value: str) -> NoReturn:
    raise ValueError(f"{value} is not a value")


def _finite(digits: str) -> float:
    number = float(digits)
    return number if math.isfinite(number) else _refuse("a number out of range")


def _too_deep(field: str) -> StructureError:
    return StructureError(field, f"more than {MOST_LEVELS} levels deep")


def _members(document: Any) -> Iterator[tuple[str, Any]]:
    """The keys and values of all objects, of data too: a reference can make a schema of anything."""
    waiting = [(document, 1)]
    while waiting:
        value, level = waiting.pop()
        if not isinstance(value, dict | list):
            continue
        if level > MOST_LEVELS:
            raise _too_deep(_JSON_SCHEMA)
        if isinstance(value, dict):
            yield from value.items()
        waiting.extend((one, level + 1) for one in (value.values() if isinstance(value, dict) else value))


def _weighed(key: str, value: Any) -> dict[str, int]:
    """What a member of a schema adds to the sums that have a limit."""
    match key, value:
        case "properties", dict():
            return {_PROPERTIES: len(value)}
        case "patternProperties", dict():
            return {_PROPERTIES: len(value), _PATTERNS: sum(_expanded(_JSON_SCHEMA, pattern) for pattern in value)}
        case "enum", list():
            return {_ENUM: len(value)}
        case "pattern", str():
            return {_PATTERNS: _expanded(_JSON_SCHEMA, value)}
        case "multipleOf", int() | float():
            return {_MULTIPLES: _digits(value)}
    return {}


def _digits(number: float) -> int:
    """1.25 has the digits 125."""
    _, digits, exponent = Decimal(repr(number)).as_tuple()
    zeros = max(exponent, 0) if isinstance(exponent, int) else 0
    return int("".join(map(str, digits)) + "0" * zeros)


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
