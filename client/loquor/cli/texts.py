"""Where the texts of a command come from: its arguments, a file, or the lines of stdin."""

import argparse
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TypeVar

from loquor.cli.failure import Failure
from loquor.cli.status import USAGE

T = TypeVar("T")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """TEXT..., or --file."""
    parser.add_argument("texts", nargs="*", metavar="TEXT", help="a text; without any, each line of stdin is one")
    parser.set_defaults(takes_rest="texts")
    parser.add_argument("--file", type=Path, metavar="FILE", help="take each line of a UTF-8 file as a text")


def read_texts(arguments: argparse.Namespace) -> Iterator[str]:
    """Lazily, so that a stream of lines is answered as it comes. Raises `Failure`."""
    if arguments.file and arguments.texts:
        raise Failure("give texts or --file, not both", USAGE)
    if arguments.texts:
        return map(_argument, arguments.texts)
    if arguments.file:
        return _file_lines(arguments.file)
    if sys.stdin.isatty():
        raise Failure("no text: give one, or --file, or lines on stdin", USAGE)
    return stdin_lines()


def read_whole(arguments: argparse.Namespace) -> Iterator[str]:
    """As `read_texts`, but the file or stdin is one text, without the line feed at its end."""
    lines = read_texts(arguments)
    return lines if arguments.texts else iter(["\n".join(lines)])


def stdin_lines() -> Iterator[str]:
    """Each as it comes. Raises `Failure`."""
    return _decoded(iter(sys.stdin.buffer.readline, b""), "stdin")


def count_texts(arguments: argparse.Namespace) -> int | None:
    """How many there will be, where that is known beforehand."""
    if arguments.file:
        with arguments.file.open("rb") as lines:
            return sum(1 for _ in lines)
    return len(arguments.texts) or None


def read_pairs(texts: Iterator[str], *, by_tab: bool) -> Iterator[tuple[str, str]]:
    """Two texts in a row, or the two halves of a line around a tab. Raises `Failure`."""
    if by_tab:
        for number, line in enumerate(texts, 1):
            first, tab, second = line.partition("\t")
            if not tab:
                raise Failure(f"--pair: line {number} has no tab between its two texts", USAGE)
            yield first, second
        return
    for first in texts:
        second_text = next(texts, None)
        if second_text is None:
            raise Failure("--pair: takes two texts for each pair, and the last has one", USAGE)
        yield first, second_text


def batches(items: Iterator[T], size: int) -> Iterator[list[T]]:
    while batch := list(islice(items, size)):
        yield batch


def _argument(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Failure("a text among the arguments is not UTF-8", USAGE) from None
    return text


def _file_lines(path: Path) -> Iterator[str]:
    with path.open("rb") as lines:
        yield from _decoded(lines, str(path))


def _decoded(lines: "Iterator[bytes] | object", name: str) -> Iterator[str]:
    for number, line in enumerate(lines, 1):  # type: ignore[var-annotated, arg-type]
        try:
            yield line.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError:
            raise Failure(f"{name}: line {number} is not UTF-8") from None
