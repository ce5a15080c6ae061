"""The manifest of a version folder: the SHA-256 sum and size of every file in it, written by whatever publishes.

    {"files": {"config.json": {"sha256": "…", "bytes": 612}, "1_Pooling/config.json": {…}}}

It covers every file of the folder but itself, so a file that is changed, cut short, missing or added is found. It says
nothing about who published: whoever can write the folder can write the manifest. It knows no kinds of files.
"""

import hashlib
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

MANIFEST_NAME = "manifest.json"

_CHUNK_BYTES = 1 << 20
_MAX_MANIFEST_BYTES = 16 << 20


class ManifestError(Exception):
    """A file is not what the manifest says, or the manifest itself cannot be read; `file` is relative to the folder."""

    def __init__(self, file: str, expected: str, found: str) -> None:
        super().__init__(f"{file}: expected {expected}, found {found}")
        self.file = file
        self.expected = expected
        self.found = found


def write_manifest(folder: Path) -> Path:
    """Write the manifest of all files below `folder`; return its path. Raises `ManifestError` for a link or device."""
    files = {name: _measured(folder / name) for name in _files(folder) if name != MANIFEST_NAME}
    path = folder / MANIFEST_NAME
    path.write_text(json.dumps({"files": files}, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return path


def verify_manifest(folder: Path) -> bool:
    """Read every file and compare. False if there is no manifest; raises `ManifestError` at the first difference."""
    path = folder / MANIFEST_NAME
    if not os.path.lexists(path):
        return False
    listed = _read(path)
    present = {name for name in _files(folder) if name != MANIFEST_NAME}
    for name in sorted(present - listed.keys()):
        raise ManifestError(name, "only the files that the manifest lists", "this one beside them")
    for name in sorted(listed):
        _compare(folder, name, listed[name], present)
    return True


def sha256_of(path: Path) -> str:
    """The SHA-256 sum of a file, in lower-case hexadecimal, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _compare(folder: Path, name: str, entry: dict[str, Any], present: set[str]) -> None:
    if name not in present:
        raise ManifestError(name, f"{entry['bytes']} bytes", "no such file")
    found_bytes = (folder / name).stat().st_size
    if found_bytes != entry["bytes"]:
        raise ManifestError(name, f"{entry['bytes']} bytes", f"{found_bytes} bytes")
    found = sha256_of(folder / name)
    if found != entry["sha256"]:
        raise ManifestError(name, f"SHA-256 {entry['sha256']}", f"SHA-256 {found}")


def _measured(path: Path) -> dict[str, Any]:
    return {"sha256": sha256_of(path), "bytes": path.stat().st_size}


def _files(folder: Path) -> Iterator[str]:
    """Names of all files below the folder, with `/`. A link could be turned after it was read, so it is refused."""
    for parent, directories, names in os.walk(folder, onerror=_raise):
        for name in directories + names:
            path = Path(parent, name)
            mode = path.lstat().st_mode
            if stat.S_ISREG(mode):
                yield path.relative_to(folder).as_posix()
            elif not stat.S_ISDIR(mode):
                raise ManifestError(path.relative_to(folder).as_posix(), "a regular file", "a link or a special file")


def _raise(error: OSError) -> None:
    raise error


def _read(path: Path) -> dict[str, dict[str, Any]]:
    if not path.is_file() or path.is_symlink() or path.stat().st_size > _MAX_MANIFEST_BYTES:
        raise ManifestError(MANIFEST_NAME, f"a regular file of at most {_MAX_MANIFEST_BYTES} bytes", "something else")
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        raise ManifestError(MANIFEST_NAME, "JSON", "something that is not") from None
    files = document.get("files") if isinstance(document, dict) and document.keys() == {"files"} else None
    if not isinstance(files, dict):
        raise ManifestError(MANIFEST_NAME, 'an object with "files" alone', "another shape")
    for name, entry in files.items():
        if not _is_plain(name) or not _is_entry(entry):
            raise ManifestError(MANIFEST_NAME, "a plain path with sha256 and bytes", f"the entry {name[:200]!r}")
    return files


def _is_plain(name: str) -> bool:
    path = PurePosixPath(name)
    return bool(path.parts) and path.as_posix() == name and not path.is_absolute() and ".." not in path.parts


def _is_entry(entry: object) -> bool:
    if not isinstance(entry, dict) or entry.keys() != {"sha256", "bytes"}:
        return False
    return isinstance(entry["sha256"], str) and type(entry["bytes"]) is int and entry["bytes"] >= 0
