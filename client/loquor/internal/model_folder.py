"""Where a version of a model lies: `REPOSITORY/NAME/VERSION/`, and which names and versions there can be.

A name has 1 to 128 letters, digits, `.`, `_` and `-`, the first a letter or digit: no path can be made of it. A version
is a whole number from 1, written without leading zeros; any other folder beside the versions is not one, which is how a
version under way stays unseen. It knows nothing of what is inside a version.
"""

import re
from dataclasses import dataclass
from pathlib import Path

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_VERSION = re.compile(r"[1-9][0-9]{0,17}")


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """One version of one model, as it lies in a repository."""

    name: str
    version: int
    path: Path


def is_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None


def names(repository: Path) -> list[str]:
    """Names that have at least one version, sorted. Empty if there is no such folder."""
    if not repository.is_dir():
        return []
    return sorted(
        entry.name for entry in repository.iterdir() if is_name(entry.name) and versions(repository, entry.name)
    )


def versions(repository: Path, name: str) -> list[int]:
    """Versions of a model, ascending. Empty if the name is none or has none."""
    folder = repository / name
    if not is_name(name) or not folder.is_dir():
        return []
    return sorted(int(entry.name) for entry in folder.iterdir() if _VERSION.fullmatch(entry.name) and entry.is_dir())
