"""A Hugging Face folder becomes a version, or nothing at all."""

import json
import os
from pathlib import Path

import pytest

from loquor.internal.manifest import verify_manifest, write_manifest
from loquor_worker.importing import ImportFailed, import_folder


def left_in(repository: Path) -> list[str]:
    return sorted(path.as_posix() for path in repository.rglob("*")) if repository.exists() else []


def test_a_folder_becomes_the_next_version(source: Path, repository: Path) -> None:
    assert import_folder(source, repository, "tiny") == repository / "tiny" / "1"
    assert import_folder(source, repository, "tiny") == repository / "tiny" / "2"
    assert import_folder(source, repository, "tiny", 7) == repository / "tiny" / "7"
    assert import_folder(source, repository, "tiny") == repository / "tiny" / "8"
    assert verify_manifest(repository / "tiny" / "8")
    assert (repository / "tiny" / "8" / "config.json").read_bytes() == (source / "config.json").read_bytes()
    assert sorted(os.listdir(repository / "tiny")) == ["1", "2", "7", "8"]


def test_only_what_can_be_served_is_copied(source: Path, repository: Path) -> None:
    for name in (
        "README.md",
        "1_Pooling/config.json",
        "onnx/model.onnx",
        "openvino/x.bin",
        ".git/HEAD",
        ".gitattributes",
    ):
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_text("{}")
    (source / "weights.gguf").write_bytes(b"")
    version = import_folder(source, repository, "tiny")
    found = {path.relative_to(version).as_posix() for path in version.rglob("*") if path.is_file()}
    models_own = {"config.json", "tokenizer.json", "model.safetensors"}
    assert found == models_own | {"README.md", "1_Pooling/config.json", "manifest.json"}


def test_the_version_is_readable_as_the_umask_says(source: Path, repository: Path) -> None:
    for path in source.iterdir():
        path.chmod(0o600)
    before = os.umask(0o027)
    try:
        version = import_folder(source, repository, "tiny")
    finally:
        os.umask(before)
    assert version.stat().st_mode & 0o777 == 0o750
    assert {path.stat().st_mode & 0o777 for path in version.iterdir()} == {0o640}


@pytest.mark.parametrize(
    ("name", "advice"),
    [("modeling.py", "delete it"), ("pytorch_model.bin", "convert it to safetensors"), ("2_Dense/x.pt", "convert it")],
)
def test_code_and_pickles_are_refused_with_what_to_do(source: Path, repository: Path, name: str, advice: str) -> None:
    (source / name).parent.mkdir(exist_ok=True)
    (source / name).write_bytes(b"")
    with pytest.raises(ImportFailed, match=rf"^{name}: .*{advice}"):
        import_folder(source, repository, "tiny")
    assert left_in(repository) == []


def test_auto_map_is_refused_and_its_code_not_run(source: Path, repository: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    config = json.loads((source / "config.json").read_text()) | {"auto_map": {"AutoModel": "evil.Model"}}
    (source / "config.json").write_text(json.dumps(config))
    (source / "evil.txt").write_text(f"open({str(canary)!r}, 'w')")
    with pytest.raises(ImportFailed, match=r"^config\.json: holds auto_map"):
        import_folder(source, repository, "tiny")
    assert left_in(repository) == []
    assert not canary.exists()


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_what_is_missing_is_named(source: Path, repository: Path, name: str) -> None:
    (source / name).unlink()
    with pytest.raises(ImportFailed, match=rf"^{name}: missing"):
        import_folder(source, repository, "tiny")
    assert left_in(repository) == []


def test_a_model_that_does_not_load_is_not_published(source: Path, repository: Path) -> None:
    config = json.loads((source / "config.json").read_text()) | {"hidden_size": 16}
    (source / "config.json").write_text(json.dumps(config))
    with pytest.raises(ImportFailed, match=r"^model\.safetensors"):
        import_folder(source, repository, "tiny")
    assert left_in(repository) == []


def test_a_folder_that_its_own_manifest_denies_is_refused(source: Path, repository: Path) -> None:
    write_manifest(source)
    (source / "tokenizer.json").write_text("{}")
    with pytest.raises(ImportFailed, match=r"^tokenizer\.json: expected \d+ bytes"):
        import_folder(source, repository, "tiny")


def test_a_snapshot_of_hugging_faces_cache_is_followed_into_its_blobs(source: Path, repository: Path) -> None:
    cache = source.parent / "models--someone--tiny"
    snapshot = cache / "snapshots" / "0a1b"
    snapshot.mkdir(parents=True)
    (cache / "blobs").mkdir()
    for number, path in enumerate(sorted(source.iterdir())):
        path.rename(cache / "blobs" / str(number))
        (snapshot / path.name).symlink_to(f"../../blobs/{number}")
    version = import_folder(snapshot, repository, "tiny")
    assert not any(path.is_symlink() for path in version.iterdir())


def test_a_link_out_of_the_folder_is_refused(source: Path, repository: Path) -> None:
    (source.parent / "secret").write_text("x")
    (source / "vocab.txt").symlink_to("../secret")
    with pytest.raises(ImportFailed, match=r"^vocab\.txt: a link"):
        import_folder(source, repository, "tiny")


@pytest.mark.parametrize("name", ["", "..", "../out", "a/b", "/abs", ".hidden", "x" * 129, "a\n"])
def test_a_name_that_is_none_is_refused(source: Path, repository: Path, name: str) -> None:
    with pytest.raises(ImportFailed, match="cannot be a model's name"):
        import_folder(source, repository, name)
    assert not repository.exists()


@pytest.mark.parametrize("version", [0, -1, 10**18])
def test_a_version_that_is_none_is_refused(source: Path, repository: Path, version: int) -> None:
    with pytest.raises(ImportFailed, match="cannot be a version"):
        import_folder(source, repository, "tiny", version)


def test_a_version_is_never_replaced(source: Path, repository: Path) -> None:
    version = import_folder(source, repository, "tiny", 3)
    before = (version / "manifest.json").stat().st_mtime_ns
    with pytest.raises(ImportFailed, match="version 3 of tiny is there already"):
        import_folder(source, repository, "tiny", 3)
    assert (version / "manifest.json").stat().st_mtime_ns == before


def test_no_folder(repository: Path) -> None:
    with pytest.raises(ImportFailed, match="no such folder"):
        import_folder(repository / "absent", repository, "tiny")
