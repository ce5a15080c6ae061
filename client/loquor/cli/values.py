"""What flags take, checked where argparse can say which one was wrong."""

import argparse
import math
from typing import NamedTuple


class ModelName(NamedTuple):
    """`minilm`, or `minilm:3`."""

    name: str
    version: int | None


def model_and_version(text: str) -> ModelName:
    name, colon, version = text.partition(":")
    if not name or (colon and not version.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is no NAME or NAME:VERSION")
    return ModelName(name, int(version) if version else None)


def at_least_one(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1")
    return int(text)


def more_than_zero(text: str) -> float:
    number = _number(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number greater than 0")
    return number


def zero_or_more(text: str) -> float:
    number = _number(text)
    if not 0 <= number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0")
    return number


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number") from None
