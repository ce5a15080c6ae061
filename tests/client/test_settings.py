"""Settings from flags, the environment and a file: what wins, and what is refused by its name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from loquor.internal.settings import SettingsError, convert, describe, load, load_flags, setting


@dataclass(frozen=True)
class Example:
    name: str = setting("nobody", "a name")
    count: int = setting(1, "a count", minimum=0, maximum=10)
    seconds: float = setting(0.5, "a time", minimum=0)
    loud: bool = setting(False, "whether")
    folder: Path = setting(Path("here"), "a folder")
    parts: tuple[str, ...] = setting((), "parts, by commas")
    kind: str = setting("plain", "a kind", choices=("plain", "fancy"))


def loaded(arguments: Sequence[str] = (), environment: Mapping[str, str] | None = None) -> Example:
    made, _ = load(Example, arguments, environment or {}, program="example", description="An example")
    return made


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_defaults_are_those_of_the_dataclass() -> None:
    assert loaded() == Example()


def test_every_kind_from_flags() -> None:
    flags = ["--name=me", "--count", "3", "--seconds", "2", "--loud", "true", "--folder", "/there", "--parts", "a,,b"]
    flags += ["--kind", "fancy"]
    assert loaded(flags) == Example("me", 3, 2.0, True, Path("/there"), ("a", "b"), "fancy")


def test_a_flag_wins_over_the_environment_and_that_over_the_file(empty_folder: Path) -> None:
    (empty_folder / "loquor.toml").write_text('name = "file"\ncount = 2\nseconds = 3\n')
    environment = {"LOQUOR_NAME": "environment", "LOQUOR_COUNT": "4", "LOQUOR_OTHER": "of somebody else"}
    made = loaded(["--name", "flag"], environment)
    assert (made.name, made.count, made.seconds) == ("flag", 4, 3.0)


def test_the_file_may_be_named(empty_folder: Path) -> None:
    (empty_folder / "other.toml").write_text("count = 7\n")
    assert loaded(["--config", "other.toml"]).count == 7
    assert loaded([], {"LOQUOR_CONFIG": "other.toml"}).count == 7


def test_a_named_file_has_to_be_there() -> None:
    with pytest.raises(SettingsError, match=r"other\.toml"):
        loaded(["--config", "other.toml"])


def test_tables_are_left_to_who_asked_for_them(empty_folder: Path) -> None:
    (empty_folder / "loquor.toml").write_text("[models.one]\nreplicas = 2\n")
    _, tables = load(Example, [], {}, program="example", description="", tables=("models",))
    assert tables == {"models": {"one": {"replicas": 2}}}
    with pytest.raises(SettingsError, match="models"):
        loaded()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("LOQUOR_COUNT", "many"),
        ("LOQUOR_COUNT", "11"),
        ("LOQUOR_COUNT", "-1"),
        ("LOQUOR_COUNT", "1.5"),
        ("LOQUOR_SECONDS", "nan"),
        ("LOQUOR_SECONDS", "inf"),
        ("LOQUOR_SECONDS", "-0.1"),
        ("LOQUOR_LOUD", "perhaps"),
        ("LOQUOR_KIND", "strange"),
    ],
)
def test_a_bad_variable_is_refused_by_its_name(variable: str, value: str) -> None:
    with pytest.raises(SettingsError, match=variable):
        loaded([], {variable: value})


@pytest.mark.parametrize("line", ["count = '3'", "count = true", "name = 3", "parts = 'a'", "loud = 1", "counts = 3"])
def test_a_bad_line_of_the_file_is_refused_by_its_key(empty_folder: Path, line: str) -> None:
    (empty_folder / "loquor.toml").write_text(line)
    with pytest.raises(SettingsError, match=line.split(" ")[0]):
        loaded()


def test_a_file_that_is_no_toml_is_refused_by_its_name(empty_folder: Path) -> None:
    (empty_folder / "loquor.toml").write_bytes(b"\xff")
    with pytest.raises(SettingsError, match=r"loquor\.toml"):
        loaded()


@pytest.mark.parametrize("flags", [["--unknown", "1"], ["--count", "many"], ["--count"], ["stray"]])
def test_a_bad_flag_ends_the_program_with_its_name(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        loaded(flags)
    assert end.value.code == 2
    assert flags[0] in capsys.readouterr().err


def test_help_shows_every_flag_with_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        loaded(["--help"])
    assert end.value.code == 0
    shown = capsys.readouterr().out
    for flag, variable, default, text in describe(Example):
        assert flag in shown
        assert text.partition(" (")[0] in shown
        assert default in shown
        assert variable == "LOQUOR_" + flag.removeprefix("--").upper()


def test_a_process_that_is_started_by_another_reads_flags_alone(empty_folder: Path) -> None:
    (empty_folder / "loquor.toml").write_text("count = 7\n")
    assert load_flags(Example, ["--name", "me"], program="example", description=None) == Example(name="me")


def test_convert_names_where_an_unknown_key_stood() -> None:
    values: dict[str, Any] = {"count": 3}
    assert convert(Example, values, "models.one") == {"count": 3}
    with pytest.raises(SettingsError, match=r"models\.one: unknown setting 'colour'"):
        convert(Example, {"colour": 1}, "models.one")
