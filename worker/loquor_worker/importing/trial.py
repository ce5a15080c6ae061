"""The last check before a version is published: it is loaded as a worker would load it, on the CPU.

It runs no text through the model.
"""

import tomllib
from pathlib import Path

from loquor_worker.importing.errors import ImportFailed


def check_loads(folder: Path) -> None:
    """Raise `ImportFailed`, naming the file, if no engine can be made of the version in `folder`."""
    try:
        from loquor_worker.engines import LoadError
        from loquor_worker.engines.load import load_engine
    except ImportError as error:
        raise ImportFailed(f"{error.name} is missing; checking a model needs: pip install 'loquor[worker]'") from None
    try:
        load_engine(
            folder, task=_task(folder), device="cpu", dtype="auto", max_batch_tokens=None, max_sequence_tokens=None
        )
    except LoadError as error:
        raise ImportFailed(str(error).replace(f"{folder}/", "")) from error


def _task(folder: Path) -> str | None:
    path = folder / "loquor.toml"
    try:
        task = tomllib.loads(path.read_text(encoding="utf-8")).get("task") if path.exists() else None
    except ValueError as error:
        raise ImportFailed(f"loquor.toml: not TOML: {error}") from None
    return task if isinstance(task, str) else None
