"""The flags that say how to sample, of every command that writes text."""

import argparse
import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import loquor
from loquor.cli.failure import Failure
from loquor.cli.status import USAGE
from loquor.cli.values import at_least_one, number, seed, utf8, whole_number

_FLAGS: tuple[tuple[str, Callable[[str], object], str, str], ...] = (
    ("--max-tokens", at_least_one, "N", "write at most so many tokens (default: 256, or what the context leaves)"),
    ("--min-tokens", whole_number, "N", "and at least so many (default: 0)"),
    ("--temperature", number, "T", "0 takes the likeliest token every time (default: 1)"),
    ("--top-k", whole_number, "N", "draw from so many of the likeliest tokens (default: 0, all)"),
    ("--top-p", number, "P", "draw from the fewest tokens that reach this probability together (default: 1)"),
    ("--min-p", number, "P", "draw from tokens at least this share as likely as the likeliest (default: 0)"),
    ("--repetition-penalty", number, "X", "above 1: what was there already becomes less likely (default: 1)"),
    ("--presence-penalty", number, "X", "off the logit of what was written, -2 to 2 (default: 0)"),
    ("--frequency-penalty", number, "X", "off it for each time that it was written, -2 to 2 (default: 0)"),
    ("--seed", seed, "N", "the same seed and prompt give the same text (default: the server's choice)"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Each flag has the name of a field of `SamplingParams`."""
    group = parser.add_argument_group("sampling (what is left out is the server's to choose)")
    for flag, kind, metavar, text in _FLAGS:
        group.add_argument(flag, type=kind, metavar=metavar, help=text)
    group.add_argument(
        "--stop",
        type=utf8,
        action="append",
        metavar="TEXT",
        help="stop at this text and leave it out; may be repeated",
    )
    group.add_argument("--ignore-eos", action="store_true", default=None, help="write on after the model's own end")
    structure = group.add_mutually_exclusive_group()
    structure.add_argument("--schema", type=Path, metavar="FILE", help="write a JSON document that this schema allows")
    structure.add_argument("--regex", type=utf8, metavar="RE2", help="write what this expression matches as a whole")


def params(arguments: argparse.Namespace) -> loquor.SamplingParams:
    """What the flags ask for. Raises `Failure`."""
    given: dict[str, Any] = {
        field.name: getattr(arguments, field.name)
        for field in fields(loquor.SamplingParams)
        if hasattr(arguments, field.name)
    }
    return loquor.SamplingParams(**given, json_schema=_schema(arguments.schema))


def _schema(path: Path | None) -> str | None:
    if path is None:
        return None
    text = path.read_bytes()
    try:
        json.loads(text)
        return text.decode("utf-8")
    except ValueError as error:
        raise Failure(f"{path}: is no JSON: {error}", USAGE) from None
