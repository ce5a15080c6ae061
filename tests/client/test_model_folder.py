"""Names and versions: what is one, and that no path can be made of it."""

from pathlib import Path

import pytest

from loquor.internal import model_folder


@pytest.mark.parametrize("name", ["minilm", "a", "0", "A.b-c_d", "en-pt", "x" * 128])
def test_names(name: str) -> None:
    assert model_folder.is_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../x",
        "a/b",
        "/a",
        "a\\b",
        ".hidden",
        "-x",
        "_x",
        "x" * 129,
        "a b",
        "a\n",
        "a\0",
        "é",
        "a:1",
        "~",
    ],
)
def test_what_is_no_name_has_no_versions(tmp_path: Path, name: str) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "a" / "b" / "1").mkdir(parents=True)
    assert not model_folder.is_name(name)
    assert model_folder.versions(tmp_path / "a", name) == []


def test_versions_are_whole_numbers_in_order_of_value(tmp_path: Path) -> None:
    for folder in ("1", "10", "9", "0", "01", "-1", "+2", "2.0", "1e3", "\u0663", ".partial-x", "latest", "9" * 19):
        (tmp_path / "m" / folder).mkdir(parents=True)
    (tmp_path / "m" / "3").write_text("a file is no version")
    assert model_folder.versions(tmp_path, "m") == [1, 9, 10]


def test_names_are_those_with_a_version(tmp_path: Path) -> None:
    for folder in ("b/1", "a/2", "empty", ".hidden/1"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "README.md").write_text("")
    assert model_folder.names(tmp_path) == ["a", "b"]
    assert model_folder.names(tmp_path / "absent") == []
