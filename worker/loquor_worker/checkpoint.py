"""The weights of a model's folder: safetensors, one file or several with an index, read through memory mapping.

It knows no family and no name of a weight. A file that is missing, damaged or of another format is refused by its name.
"""

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from loquor_worker.engines import LoadError
from loquor_worker.models.json_file import JsonFile

SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"


class Checkpoint:
    """All tensors of a folder by name. They are mapped, not read: pages come from the file when they are used."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files: dict[str, Any] = {}
        self._owners: dict[str, str] = {}
        for file_name in self._file_names():
            opened = _open(folder / file_name)
            self._files[file_name] = opened
            self._owners.update(dict.fromkeys(opened.keys(), file_name))

    def __contains__(self, name: str) -> bool:
        return name in self._owners

    def has_prefix(self, prefix: str) -> bool:
        return any(name.startswith(prefix) for name in self._owners)

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._file_of(name).get_slice(name).get_shape())

    def tensor(self, name: str) -> Tensor:
        """The tensor as it is in the file, on the CPU."""
        try:
            tensor: Tensor = self._file_of(name).get_tensor(name)
        except (SafetensorError, OSError, RuntimeError) as error:
            raise LoadError(f"{self.where(name)}: cannot be read: {error}") from None
        if not tensor.is_floating_point() or tensor.element_size() < 2:
            raise LoadError(f"{self.where(name)}: weights of type {_name(tensor.dtype)} are not supported")
        return tensor

    def where(self, name: str) -> str:
        """The file and the tensor, for the text of an error."""
        return f"{self.folder / self._owners.get(name, SINGLE_FILE)}: {name}"

    def _file_of(self, name: str) -> Any:
        if name not in self._owners:
            raise LoadError(f"{self.where(name)}: the tensor is missing")
        return self._files[self._owners[name]]

    def _file_names(self) -> list[str]:
        if (self.folder / SINGLE_FILE).exists():
            return [SINGLE_FILE]
        if not (self.folder / INDEX_FILE).exists():
            raise LoadError(f"{self.folder}: neither {SINGLE_FILE} nor {INDEX_FILE} is there; no other format is read")
        index = JsonFile(self.folder / INDEX_FILE).child("weight_map")
        file_names = sorted({index.text(name) for name in index.names()})
        for file_name in file_names:
            if Path(file_name).name != file_name:
                raise LoadError(f"{self.folder / INDEX_FILE}: {file_name!r} is not a file of this folder")
        return file_names


def _open(path: Path) -> Any:
    try:
        return safe_open(path, framework="pt", device="cpu")
    except FileNotFoundError:
        raise LoadError(f"{path}: the file is missing") from None
    except (SafetensorError, OSError) as error:
        raise LoadError(f"{path}: not a whole safetensors file: {error}") from None


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
