"""From names in the settings to versions that may be served."""

from pathlib import Path

import pytest

from loquor.internal.settings import SettingsError
from loquor_server.config import ServerConfig
from loquor_server.errors import ModelNotFound
from loquor_server.plan import Planner


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    for name, version in (("one", "1"), ("one", "12"), ("two", "3")):
        folder = tmp_path / name / version
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
        (folder / "tokenizer.json").write_text("{}")
        (folder / "model.safetensors").write_bytes(b"\x02\x00\x00\x00\x00\x00\x00\x00{}")
    (tmp_path / "one" / "12" / "loquor.toml").write_text("threads = 3\nmax_queue_requests = 5\n")
    return tmp_path


def test_all_of_the_repository_if_nothing_is_named(repository: Path) -> None:
    plans = Planner(ServerConfig(repository=repository), {}).plan_all()
    assert [(plan.folder.name, plan.folder.version) for plan in plans] == [("one", 12), ("two", 3)]


def test_names_and_versions(repository: Path) -> None:
    config = ServerConfig(repository=repository, models=("two", "one:1"))
    plans = Planner(config, {}).plan_all()
    assert [(plan.folder.name, plan.folder.version) for plan in plans] == [("two", 3), ("one", 1)]


def test_the_servers_table_wins_over_the_versions_own_file_and_that_over_the_flags(repository: Path) -> None:
    config = ServerConfig(repository=repository, threads=1, replicas=2, models=("one",))
    (plan,) = Planner(config, {"one": {"max_queue_requests": 7}}).plan_all()
    assert (plan.settings.threads, plan.settings.replicas, plan.settings.max_queue_requests) == (3, 2, 7)


@pytest.mark.parametrize("entry", ["one:", "one:x", "one:-1", "one:²", "one:1.0"])
def test_a_version_that_is_none_is_refused(repository: Path, entry: str) -> None:
    with pytest.raises(SettingsError, match="NAME:VERSION"):
        Planner(ServerConfig(repository=repository, models=(entry,)), {}).plan_all()


@pytest.mark.parametrize("entry", ["three", "one:2", "../one"])
def test_what_is_not_there_is_said_to_be_missing(repository: Path, entry: str) -> None:
    with pytest.raises(ModelNotFound):
        Planner(ServerConfig(repository=repository, models=(entry,)), {}).plan_all()


@pytest.mark.parametrize("table", [{"one": 3}, {"one": {"colour": 1}}, {"one": {"replicas": 0}}])
def test_a_bad_table_is_refused_by_its_name(repository: Path, table: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match=r"models\.one"):
        Planner(ServerConfig(repository=repository), table)
