"""Why a GGUF file is refused: always the file, the field of it, and the reason."""

from pathlib import Path

from loquor_worker.importing.errors import ConversionFailed

_SHOWN_CHARACTERS = 100


def refused(file: Path, field: str, why: str) -> ConversionFailed:
    """The error to raise."""
    return ConversionFailed(f"{file.name}: {field}: {why}")


def shown(text: str) -> str:
    """A text out of a file, which may be long and hold anything, as one may show it."""
    return repr(text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…")
