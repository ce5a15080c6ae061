"""What goes to stdout: tables for people, one JSON object a line for programs."""

import json
import shutil
import struct
import sys
from collections.abc import Iterable, Sequence
from typing import Any

_SHORTEST_COLUMN = 20


def write_json(value: Any) -> None:
    """One line, at once, so that a reader of the pipe sees it now."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, separators=(", ", ": ")) + "\n")


def write_table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Columns as wide as they need; the last one is cut at the edge of a terminal."""
    lines = [list(headers), *([_one_line(str(cell)) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headers) - 1)]
    room = _room(sum(widths) + 2 * len(widths))
    for line in lines:
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=False)]
        print("  ".join([*cells, shortened(line[-1], room)]).rstrip())


def shortened(text: str, length: int | None) -> str:
    """At most `length` characters, the last one an ellipsis if something is missing."""
    return text if length is None or len(text) <= length else text[: length - 1] + "…"


def float32(value: float) -> float:
    """The shortest number that is the same in 32 bits: 0.1, and not 0.10000000149011612."""
    for digits in range(6, 9):
        short = float(f"{value:.{digits}g}")
        if struct.pack("f", short) == struct.pack("f", value):
            return short
    return float(f"{value:.9g}")


def _room(used: int) -> int | None:
    if not sys.stdout.isatty():
        return None
    return max(_SHORTEST_COLUMN, shutil.get_terminal_size().columns - used)


def _one_line(text: str) -> str:
    """Nothing of a text may move the cursor of a terminal."""
    return "".join(character if character.isprintable() else " " for character in text)
