"""The model repository as the server reads it: which models and versions there are, and whether their files are whole.

It looks anew at each call, so a version is served as soon as it is published. It opens no weights, writes nothing, and
does not know which versions are loaded.
"""

import tomllib
from pathlib import Path
from typing import Any

from loquor.internal import model_folder
from loquor.internal.model_files import ModelFilesRefused, check_files
from loquor.internal.model_folder import ModelFolder
from loquor.internal.settings import SettingsError
from loquor_server.errors import ModelNotFound
from loquor_server.model_settings import ModelSettings

__all__ = ["ModelFilesRefused", "ModelFolder", "ModelSettings", "Repository"]

_SETTINGS_NAME = "loquor.toml"
_MAX_SETTINGS_BYTES = 1 << 20


class Repository:
    """Models in a folder, each `NAME/VERSION/`. Whatever else lies there is not seen."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def names(self) -> list[str]:
        """Names that have at least one version, sorted. Empty if the folder is not there."""
        return model_folder.names(self.root)

    def versions(self, name: str) -> list[int]:
        """Versions of a model, ascending. Raises `ModelNotFound` if there are none."""
        versions = model_folder.versions(self.root, name)
        if not versions:
            raise ModelNotFound(name)
        return versions

    def newest(self, name: str) -> int:
        """The highest version of a model. Raises `ModelNotFound`."""
        return self.versions(name)[-1]

    def folders(self) -> list[ModelFolder]:
        """Every version of every model, by name and version."""
        return [self.resolve(name, version) for name in self.names() for version in self.versions(name)]

    def resolve(self, name: str, version: int | None = None) -> ModelFolder:
        """The folder of a version, of the newest if `version` is None. Raises `ModelNotFound`; checks no file."""
        versions = self.versions(name)
        chosen = versions[-1] if version is None else version
        if chosen not in versions:
            raise ModelNotFound(name, version)
        return ModelFolder(name, chosen, self.root / name / str(chosen))

    def check(self, folder: ModelFolder) -> None:
        """Raise `ModelFilesRefused` unless every file may be opened and is what the manifest says.

        With a manifest this reads every byte: call it off the event loop.
        """
        check_files(folder.name, folder.path)

    def settings(self, folder: ModelFolder) -> dict[str, Any]:
        """What the version's own `loquor.toml` sets, for `ModelSettings.merged`. Raises `ModelFilesRefused`."""
        path = folder.path / _SETTINGS_NAME
        if not path.exists():
            return {}
        try:
            document = _read(path)
            _check_signature(document.pop("tensor", None))
            return ModelSettings.parse(document, f"version {folder.version}")
        except SettingsError as error:
            raise ModelFilesRefused(folder.name, _SETTINGS_NAME, str(error)) from None


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file() or path.stat().st_size > _MAX_SETTINGS_BYTES:
        raise SettingsError(f"not a file of at most {_MAX_SETTINGS_BYTES} bytes")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SettingsError(f"not TOML: {error}") from None


def _check_signature(table: Any) -> None:
    """`[tensor]` is the tensor engine's to read; what is wrong on its face is refused before a worker starts."""
    if table is None:
        return
    if not isinstance(table, dict) or table.keys() != {"inputs", "outputs"}:
        raise SettingsError("tensor: takes the keys inputs and outputs, and no other")
    for key, names in table.items():
        if not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):
            raise SettingsError(f"tensor.{key}: {names!r} is not a list of names")
        if len(set(names)) != len(names):
            raise SettingsError(f"tensor.{key}: a name stands there twice")
