"""From names in the settings to versions that may be served: their files checked, their settings merged."""

from collections.abc import Mapping
from typing import Any

from loquor.internal.settings import SettingsError
from loquor_server.config import ServerConfig
from loquor_server.launcher import ModelPlan
from loquor_server.repository import ModelFolder, ModelSettings, Repository


class Planner:
    """Knows the server's settings: the defaults for all models and the `[models.NAME]` tables."""

    def __init__(self, config: ServerConfig, tables: Mapping[str, Any]) -> None:
        self.repository = Repository(config.repository)
        self._config = config
        self._tables = {name: self._parse(name, table) for name, table in tables.items()}

    def plan(self, folder: ModelFolder) -> ModelPlan:
        """Check a version's files and merge its settings. Raises `ModelFilesRefused`."""
        self.repository.check(folder)
        own = self.repository.settings(folder)
        return ModelPlan(folder, ModelSettings.merged(self._defaults(), own, self._tables.get(folder.name, {})))

    def plan_all(self) -> list[ModelPlan]:
        """What the settings say is to be loaded. Raises `SettingsError`, `ModelNotFound` or `ModelFilesRefused`."""
        wanted = self._config.models or tuple(self.repository.names())
        return [self.plan(self.repository.resolve(*_name_and_version(entry))) for entry in wanted]

    def _defaults(self) -> dict[str, Any]:
        config = self._config
        return {
            "device": config.device,
            "dtype": config.dtype,
            "threads": config.threads,
            "replicas": config.replicas,
        }

    def _parse(self, name: str, table: object) -> dict[str, Any]:
        if not isinstance(table, dict):
            raise SettingsError(f"loquor.toml: models.{name} is not a table")
        return ModelSettings.parse(table, f"loquor.toml: models.{name}")


def _name_and_version(entry: str) -> tuple[str, int | None]:
    name, colon, version = entry.partition(":")
    if not colon:
        return name, None
    if not version.isdecimal():
        raise SettingsError(f"models: {entry!r} is not NAME or NAME:VERSION")
    return name, int(version)
