"""Importing a Hugging Face folder: what can be served is copied and checked, code and pickles are refused.

Documents and folders of other runtimes are left behind. It knows no model family.
"""

import shutil
from pathlib import Path, PurePath

from loquor.internal.manifest import ManifestError, verify_manifest
from loquor.internal.model_files import FileKind, ModelFilesRefused, check_complete, files_below, kind_of
from loquor_worker.importing.errors import ImportFailed
from loquor_worker.importing.publishing import new_version

# Written by whatever publishes, which is we.
_LEFT_BEHIND = frozenset({"manifest.json", ".gitattributes", ".gitignore"})


def import_folder(source: Path, repository: Path, name: str, version: int | None = None) -> Path:
    """Publish the model in `source` as `version`, or as the next one, and return the version's folder.

    Raises `ImportFailed`, whose text names the file and says what to do.
    """
    if not source.is_dir():
        raise ImportFailed(f"{source}: no such folder")
    with new_version(repository, name, version) as building:
        _check_manifest(name, source)
        files = _files(name, source)
        check_complete(name, files)
        for file in files:
            target = building.folder / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / file, target)
    return building.path


def _files(name: str, source: Path) -> list[PurePath]:
    """All that is copied; nothing is, if anything is refused."""
    copied = []
    for file in sorted(files_below(name, source, links_into=_blobs(source))):
        kind = kind_of(file)
        if kind in (FileKind.CODE, FileKind.PICKLE):
            raise ModelFilesRefused(name, file.as_posix(), kind.value)
        if kind is FileKind.SERVED and file.name not in _LEFT_BEHIND:
            copied.append(file)
    return copied


def _check_manifest(name: str, source: Path) -> None:
    try:
        verify_manifest(source)
    except ManifestError as error:
        raise ModelFilesRefused(name, error.file, f"expected {error.expected}, found {error.found}") from None


def _blobs(source: Path) -> Path | None:
    """A snapshot in Hugging Face's cache is made of links into the folder `blobs` of its model."""
    snapshots = source.resolve().parent
    return snapshots.parent / "blobs" if snapshots.name == "snapshots" else None
