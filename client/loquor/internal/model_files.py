"""Which files a version folder may hold, and the checks made on them before anything of a model is opened.

Served are weights in safetensors, JSON, texts and a tensor model's `model.pt2`: an allow-list, so that a new kind of
danger is refused without being known. Code, and formats that run code when they are opened, are refused by name alone;
a `config.json` that names code of its own (`auto_map`) is refused wherever the key stands. Folders of other runtimes
and tools are not looked into, for nothing in them is ever opened. It knows no model family and reads no weight.
"""

import enum
import json
import os
import stat
from collections.abc import Collection, Iterator
from pathlib import Path, PurePath
from typing import Any

from loquor.internal.manifest import ManifestError, verify_manifest
from loquor.internal.safetensors_header import HeaderError, check_header
from loquor.internal.tensor_archive import ArchiveError, check_archive

OTHER_RUNTIMES = frozenset({"onnx", "openvino", "coreml", ".cache", ".git"})

_SERVED_SUFFIXES = frozenset({".safetensors", ".json", ".txt", ".model", ".spm", ".toml", ".jinja"})
_DOCUMENT_SUFFIXES = frozenset({".md", ".csv", ".tsv", ".pdf", ".png", ".jpg", ".jpeg", ".gif", ".svg", ".webp"})
_SERVED_NAMES = frozenset(
    {"model.pt2", "license", "licence", "notice", "copying", "authors", ".gitattributes", ".gitignore"}
)
_CODE_SUFFIXES = frozenset({".py", ".pyc", ".pyi", ".pyx", ".so", ".dll", ".dylib", ".sh", ".js", ".ipynb", ".wasm"})
_PICKLE_SUFFIXES = frozenset(
    {
        ".bin",
        ".pt",
        ".pth",
        ".pkl",
        ".pickle",
        ".ckpt",
        ".joblib",
        ".dill",
        ".npy",
        ".npz",
        ".mar",
        ".h5",
        ".hdf5",
        ".keras",
    }
)
_CODE_KEYS = frozenset({"auto_map", "custom_pipelines"})
_MAX_FILES = 10_000
_MAX_CONFIG_BYTES = 16 << 20


class FileKind(enum.Enum):
    """What a file's name says of it; the value is the reason for which it is refused, if it is."""

    SERVED = ""
    CODE = "code beside the weights is never run nor served; delete it if the model works without it"
    PICKLE = "this format can run code when it is opened; convert it to safetensors, or delete it if that is there too"
    FOREIGN = "not a kind of file that a model folder holds; delete it, or let `loquor models import` leave it behind"


class ModelFilesRefused(Exception):
    """The files of a version cannot be served. `file` is relative to its folder, `reason` for the operator."""

    def __init__(self, model: str, file: str, reason: str) -> None:
        super().__init__(f"model {model}: {file}: {reason}")
        self.model = model
        self.file = file
        self.reason = reason


def kind_of(file: PurePath) -> FileKind:
    """The kind of a file by its name, capital letters or not."""
    name, suffix = file.name.lower(), file.suffix.lower()
    if name in _SERVED_NAMES or suffix in _SERVED_SUFFIXES | _DOCUMENT_SUFFIXES:
        return FileKind.SERVED
    if suffix in _CODE_SUFFIXES:
        return FileKind.CODE
    return FileKind.PICKLE if suffix in _PICKLE_SUFFIXES else FileKind.FOREIGN


def check_files(model: str, folder: Path) -> None:
    """Raise `ModelFilesRefused` unless the version in `folder` can be opened: kinds, configurations, weights, manifest.

    Reads the whole of every file if there is a manifest, else a few kilobytes.
    """
    try:
        files = sorted(files_below(model, folder))
        for file in files:
            _check_kind(model, file)
        check_complete(model, files)
        for file in files:
            _check_content(model, folder, file)
        verify_manifest(folder)
    except ManifestError as error:
        raise ModelFilesRefused(model, error.file, f"expected {error.expected}, found {error.found}") from None
    except OSError as error:
        raise ModelFilesRefused(model, Path(error.filename or folder).name, f"{error.strerror}") from None


def files_below(model: str, folder: Path, links_into: Path | None = None) -> Iterator[PurePath]:
    """Files below `folder`, relative to it, without those of other runtimes.

    A link is followed only to a file inside the folder, or inside `links_into`.
    """
    home = folder.resolve()
    for count, entry in enumerate(_entries(folder)):
        file = entry.relative_to(folder)
        if count >= _MAX_FILES:
            raise ModelFilesRefused(model, file.as_posix(), f"the folder holds more than {_MAX_FILES} files")
        target = Path(os.path.realpath(entry))
        inside = target.is_relative_to(home) or (links_into is not None and target.is_relative_to(links_into))
        if entry.is_symlink() and not (inside and target.is_file()):
            raise ModelFilesRefused(model, file.as_posix(), "a link that does not lead to a file of this folder")
        if not stat.S_ISREG(target.stat().st_mode):
            raise ModelFilesRefused(model, file.as_posix(), "neither a file nor a folder")
        yield file


def _entries(folder: Path) -> Iterator[Path]:
    for parent, directories, names in os.walk(folder, onerror=_raise):
        if Path(parent) == folder:
            directories[:] = [name for name in directories if name not in OTHER_RUNTIMES]
        links = [name for name in directories if Path(parent, name).is_symlink()]
        yield from (Path(parent, name) for name in links + names)


def _raise(error: OSError) -> None:
    raise error


def _check_kind(model: str, file: PurePath) -> None:
    kind = kind_of(file)
    if kind is not FileKind.SERVED:
        raise ModelFilesRefused(model, file.as_posix(), kind.value)


def _check_content(model: str, folder: Path, file: PurePath) -> None:
    try:
        if file.suffix.lower() == ".safetensors":
            check_header(folder / file)
        elif file.as_posix() == "model.pt2":
            check_archive(folder / file)
        elif file.name.endswith("config.json"):
            _check_names_no_code(_json(folder / file))
        elif file.as_posix() == "modules.json":
            _check_modules(_json(folder / file))
        elif file.name.endswith(".safetensors.index.json"):
            _check_index(_json(folder / file), folder / file.parent)
    except (HeaderError, ArchiveError, _Refused) as error:
        raise ModelFilesRefused(model, file.as_posix(), str(error)) from None


class _Refused(Exception):
    """Why a file's content is refused; `_check_content` adds the file's name."""


def _json(path: Path) -> Any:
    if path.stat().st_size > _MAX_CONFIG_BYTES:
        raise _Refused(f"larger than {_MAX_CONFIG_BYTES} bytes")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        raise _Refused("not JSON") from None


def _check_names_no_code(value: Any) -> None:
    """Walks with a list of its own: a deep document must not end in the interpreter's recursion limit."""
    rest = [value]
    while rest:
        value = rest.pop()
        if isinstance(value, dict):
            if found := sorted(_CODE_KEYS & value.keys()):
                raise _Refused(f"holds {found[0]}: the model wants code of its own to be run, which is refused")
            rest.extend(value.values())
        elif isinstance(value, list):
            rest.extend(value)


def _check_modules(modules: Any) -> None:
    if not isinstance(modules, list):
        raise _Refused("not a list of modules")
    for module in modules:
        name = module.get("type") if isinstance(module, dict) else None
        if not isinstance(name, str) or not name.startswith("sentence_transformers."):
            raise _Refused(f"the module type {str(name)[:200]!r} is code of the model's own, which is refused")


def _check_index(index: Any, folder: Path) -> None:
    shards = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(shards, dict) or not all(isinstance(shard, str) for shard in shards.values()):
        raise _Refused("has no weight_map from tensors to files")
    for shard in sorted(set(shards.values())):
        if PurePath(shard).name != shard or not (folder / shard).is_file():
            raise _Refused(f"names the file {shard[:200]!r}, which is missing")


def check_complete(model: str, files: Collection[PurePath]) -> None:
    """Raise `ModelFilesRefused` unless there is a model: `model.pt2`, or configuration, tokenizer and weights."""
    names = {file.as_posix() for file in files}
    has_weights = any(name.endswith(".safetensors") and "/" not in name for name in names)
    if "model.pt2" in names:
        needed = {"loquor.toml"}
        if has_weights:
            raise ModelFilesRefused(model, "model.pt2", "there are safetensors beside it: one folder holds one model")
    else:
        needed = {"config.json", "tokenizer.json"}
    for name in sorted(needed - names):
        raise ModelFilesRefused(model, name, "missing")
    if "model.pt2" not in names and not has_weights:
        raise ModelFilesRefused(model, "model.safetensors", "missing: the weights come from safetensors alone")
