"""A manifest finds every file that is not what was published."""

import hashlib
import json
from pathlib import Path

import pytest

from loquor.internal.manifest import ManifestError, sha256_of, verify_manifest, write_manifest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "model.safetensors").write_bytes(bytes(range(256)) * 17)
    (tmp_path / "1_Pooling" / "config.json").write_text("{}")
    write_manifest(tmp_path)
    return tmp_path


def test_the_manifest_covers_every_file_but_itself(folder: Path) -> None:
    files = json.loads((folder / "manifest.json").read_text())["files"]
    assert files.keys() == {"model.safetensors", "1_Pooling/config.json"}
    assert files["1_Pooling/config.json"] == {"sha256": hashlib.sha256(b"{}").hexdigest(), "bytes": 2}
    assert verify_manifest(folder) is True


def test_writing_again_gives_the_same_bytes(folder: Path) -> None:
    before = (folder / "manifest.json").read_bytes()
    assert write_manifest(folder).read_bytes() == before


def test_a_folder_without_manifest_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert verify_manifest(tmp_path) is False


@pytest.mark.parametrize("offset", [0, 1, 7, 8, 255, 2048, 4350, 4351])
def test_one_flipped_bit_is_found_and_named(folder: Path, offset: int) -> None:
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    expected = sha256_of(path)
    data[offset] ^= 1 << (offset % 8)
    path.write_bytes(data)
    with pytest.raises(ManifestError) as caught:
        verify_manifest(folder)
    assert caught.value.file == "model.safetensors"
    assert caught.value.expected == f"SHA-256 {expected}"
    assert caught.value.found == f"SHA-256 {sha256_of(path)}"


@pytest.mark.parametrize("length", [0, 1, 8, 2048, 4351, 4353])
def test_another_length_is_found_with_both_sizes(folder: Path, length: int) -> None:
    path = folder / "model.safetensors"
    path.write_bytes((path.read_bytes() + b"\0")[:length])
    with pytest.raises(ManifestError, match=rf"^model\.safetensors: expected 4352 bytes, found {length} bytes$"):
        verify_manifest(folder)


def test_swapped_files_are_found(folder: Path) -> None:
    (folder / "a.txt").write_text("one")
    (folder / "b.txt").write_text("two")
    write_manifest(folder)
    (folder / "a.txt").write_text("two")
    (folder / "b.txt").write_text("one")
    with pytest.raises(ManifestError, match=r"^a\.txt: expected SHA-256"):
        verify_manifest(folder)


def test_a_missing_file_is_found(folder: Path) -> None:
    (folder / "1_Pooling" / "config.json").unlink()
    with pytest.raises(ManifestError, match=r"^1_Pooling/config\.json: .* found no such file$"):
        verify_manifest(folder)


def test_a_file_that_nobody_published_is_found(folder: Path) -> None:
    (folder / "added.txt").write_text("x")
    with pytest.raises(ManifestError, match=r"^added\.txt: "):
        verify_manifest(folder)


def test_a_link_in_place_of_a_file_is_refused(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "model.safetensors"
    (folder / "model.safetensors").rename(elsewhere)
    (folder / "model.safetensors").symlink_to(elsewhere)
    with pytest.raises(ManifestError, match=r"^model\.safetensors: expected a regular file"):
        verify_manifest(folder)
    with pytest.raises(ManifestError, match=r"^model\.safetensors: expected a regular file"):
        write_manifest(folder)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"files": []}',
        '{"files": {}, "more": 1}',
        '{"files": {"../outside": {"sha256": "00", "bytes": 1}}}',
        '{"files": {"/etc/hostname": {"sha256": "00", "bytes": 1}}}',
        '{"files": {"a//b": {"sha256": "00", "bytes": 1}}}',
        '{"files": {"": {"sha256": "00", "bytes": 1}}}',
        '{"files": {"a": {"sha256": "00"}}}',
        '{"files": {"a": {"sha256": 0, "bytes": 1}}}',
        '{"files": {"a": {"sha256": "00", "bytes": true}}}',
        '{"files": {"a": {"sha256": "00", "bytes": -1}}}',
        "[" * 100_000,
        '{"files": ' + "9" * 5000 + "}",
    ],
)
def test_a_malformed_manifest_is_refused_by_its_name(folder: Path, text: str) -> None:
    (folder / "manifest.json").write_text(text)
    with pytest.raises(ManifestError, match=r"^manifest\.json: "):
        verify_manifest(folder)


def test_a_manifest_that_is_no_text_is_refused(folder: Path) -> None:
    (folder / "manifest.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ManifestError, match=r"^manifest\.json: expected JSON"):
        verify_manifest(folder)
