"""Publishing a version: it is built under a temporary name beside the versions, then appears whole by one rename.

A failure, an interrupt or a full disk leaves nothing but the versions that were there; what a killed process left is
removed by the next one. It knows nothing of what is in a version beyond that it must pass the checks.
"""

import contextlib
import fcntl
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from loquor.internal.manifest import write_manifest
from loquor.internal.model_files import ModelFilesRefused, check_files
from loquor.internal.model_folder import is_name, versions
from loquor_worker.importing.errors import ImportFailed
from loquor_worker.importing.trial import check_loads

_PREFIX = ".partial-"


@dataclass
class NewVersion:
    """A version being built: fill `folder`; once published, it lies at `path`."""

    folder: Path
    path: Path


@contextlib.contextmanager
def new_version(repository: Path, name: str, version: int | None = None) -> Iterator[NewVersion]:
    """Publish what the body puts into the folder, under `version` or the next free number. Raises `ImportFailed`."""
    if not is_name(name):
        raise ImportFailed(f"{name[:200]!r} cannot be a model's name: letters, digits, '.', '_', '-', 128 at most")
    if version is not None and not 1 <= version < 10**18:
        raise ImportFailed(f"{version} cannot be a version: they are whole numbers from 1")
    if version is not None and (repository / name / str(version)).exists():
        raise ImportFailed(f"version {version} of {name} is there already; versions never change")
    try:
        with _temporary_folder(repository, name) as folder:
            building = NewVersion(folder, folder)
            yield building
            building.path = _publish(building.folder, repository, name, version)
    except ModelFilesRefused as error:
        raise ImportFailed(f"{error.file}: {error.reason}") from error
    except OSError as error:
        raise ImportFailed(f"{error.filename or repository}: {error.strerror or error}") from error


@contextlib.contextmanager
def _temporary_folder(repository: Path, name: str) -> Iterator[Path]:
    repository.mkdir(parents=True, exist_ok=True)
    parent = repository / name
    with contextlib.ExitStack() as held:
        # Between its making and its locking, a folder would look like one that a killed process left.
        with _locked(repository):
            parent.mkdir(exist_ok=True)
            _sweep(parent)
            # Not by `tempfile`, whose folders only their owner can read.
            folder = parent / (_PREFIX + secrets.token_hex(8))
            folder.mkdir()
            held.callback(_remove, folder, repository)
            held.enter_context(_locked(folder))
        yield folder


def _remove(folder: Path, repository: Path) -> None:
    """Remove what was not published, and the model's folder if it has no version then."""
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError), _locked(repository):
        folder.parent.rmdir()


def _sweep(parent: Path) -> None:
    """Remove what killed processes left; the lock of one that lives is held."""
    for folder in parent.glob(_PREFIX + "*"):
        with contextlib.suppress(OSError), _locked(folder, wait=False):
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _locked(folder: Path, *, wait: bool = True) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _publish(folder: Path, repository: Path, name: str, version: int | None) -> Path:
    check_files(name, folder)
    check_loads(folder)
    write_manifest(folder)
    _settle(folder)
    while True:
        number = version or max(versions(repository, name), default=0) + 1
        path = repository / name / str(number)
        try:
            folder.rename(path)
        except OSError:
            # Another process was faster; rename never replaces a folder that holds something.
            if version is not None or not path.exists():
                raise
        else:
            _sync(path.parent)
            return path


def _settle(folder: Path) -> None:
    """Bring everything to the disk before its name appears, as readable as its folder is."""
    readable = stat.S_IMODE(folder.stat().st_mode) & 0o666
    for parent, _, names in os.walk(folder, topdown=False):
        for name in names:
            Path(parent, name).chmod(readable)
            _sync(Path(parent, name))
        _sync(Path(parent))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
