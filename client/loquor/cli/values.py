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


def whole_number(text: str) -> int:
    return _below(2**32, text)


def seed(text: str) -> int:
    return _below(2**64, text)


def utf8(text: str) -> str:
    """What the shell gave as other bytes has lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError("is not UTF-8") from None
    return text


def more_than_zero(text: str) -> float:
    value = number(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number greater than 0")
    return value


def zero_or_more(text: str) -> float:
    value = number(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0")
    return value


def number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number") from None


def _below(limit: int, text: str) -> int:
    if not text.isdecimal() or int(text) >= limit:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0 to {limit - 1}")
    return int(text)
