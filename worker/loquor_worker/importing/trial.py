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
        from loquor_worker.engines.load import is_generator, load_engine
        from loquor_worker.engines.load_generator import load_generator
        from loquor_worker.generation.limits import GeneratorSettings
    except ImportError as error:
        raise ImportFailed(f"{error.name} is missing; checking a model needs: pip install 'loquor[worker]'") from None
    task = _task(folder)
    try:
        if is_generator(folder, task):
            load_generator(folder, device="cpu", dtype="auto", settings=GeneratorSettings())
        else:
            load_engine(folder, task=task, device="cpu", dtype="auto", max_batch_tokens=None, max_sequence_tokens=None)
    except LoadError as error:
        raise ImportFailed(str(error).replace(f"{folder}/", "")) from error


def _task(folder: Path) -> str | None:
    path = folder / "loquor.toml"
    try:
        task = tomllib.loads(path.read_text(encoding="utf-8")).get("task") if path.exists() else None
    except ValueError as error:
        raise ImportFailed(f"loquor.toml: not TOML: {error}") from None
    return task if isinstance(task, str) else None
