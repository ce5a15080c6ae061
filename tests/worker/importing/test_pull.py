"""Pulling by the real pip, from wheels on disk: what is published, cached and refused."""

import hashlib
import signal
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from loquor.internal.manifest import verify_manifest
from loquor_worker.importing import DownloadFailed, ImportFailed, KnownModel, UnknownModel, known_models, pull
from loquor_worker.importing.packages import PackagedFile
from loquor_worker.importing.pull import pull_model

Carry = Callable[[dict[str, bytes]], KnownModel]
Steps = list[tuple[str, int, int]]


def fetched(model: KnownModel, repository: Path, steps: Steps | None = None) -> Path:
    cache = repository.parent / "cache"
    return pull_model(model, repository, cache, lambda *step: (steps if steps is not None else []).append(step))


def test_a_pulled_model_is_a_version_with_its_notice(
    carry: Carry, tiny_files: dict[str, bytes], repository: Path
) -> None:
    steps: Steps = []
    version = fetched(carry(tiny_files), repository, steps)
    assert version == repository / "tiny" / "1"
    assert (version / "model.safetensors").read_bytes() == tiny_files["model.safetensors"]
    assert (version / "NOTICE").read_text() == "Nobody's.\n"
    assert (version / "loquor.toml").read_text() == 'task = "embed"\n'
    assert verify_manifest(version)
    assert steps[-1][1] == steps[-1][2] == sum(map(len, tiny_files.values()))
    assert all(0 <= done <= total for _, done, total in steps)


def test_a_second_pull_needs_no_network(
    carry: Carry, tiny_files: dict[str, bytes], repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = carry(tiny_files)
    fetched(model, repository)
    monkeypatch.setenv("PIP_FIND_LINKS", str(repository))
    assert fetched(model, repository).name == "2"


def test_a_damaged_cache_is_fetched_again(carry: Carry, tiny_files: dict[str, bytes], repository: Path) -> None:
    model = carry(tiny_files)
    fetched(model, repository)
    (cached,) = (repository.parent / "cache" / "packages").iterdir()
    cached.write_bytes(b"damaged")
    fetched(model, repository)
    assert hashlib.sha256(cached.read_bytes()).hexdigest() == model.package.sha256


def test_a_package_that_is_not_the_known_one_is_refused(
    carry: Carry, tiny_files: dict[str, bytes], repository: Path
) -> None:
    model = carry(tiny_files)
    carry(tiny_files | {"more.txt": b"x"})
    with pytest.raises(DownloadFailed, match=f"expected SHA-256 {model.package.sha256}, found "):
        fetched(model, repository)
    assert not repository.exists()
    assert list((repository.parent / "cache" / "packages").iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tokenizer.json": b"[]"}, "expected .* bytes, found 2"),
        ({"tokenizer.json": None}, "is missing from the package"),
        ({"tokenizer.json": b"flipped"}, "tokenizer.json: expected SHA-256"),
    ],
)
def test_a_file_that_is_not_the_known_one_is_refused(
    carry: Carry, tiny_files: dict[str, bytes], repository: Path, change: dict[str, bytes | None], message: str
) -> None:
    carried = {name: content for name, content in (tiny_files | change).items() if content is not None}
    if carried.get("tokenizer.json") == b"flipped":
        carried["tokenizer.json"] = tiny_files["tokenizer.json"].replace(b"a", b"b", 1)
    with pytest.raises(DownloadFailed, match=message):
        fetched(carry(carried), repository)
    assert list(repository.iterdir()) == []


def test_an_interrupt_ends_pip_and_leaves_nothing(
    carry: Carry, tiny_files: dict[str, bytes], repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[subprocess.Popen[bytes]] = []

    class Watched(subprocess.Popen[bytes]):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            started.append(self)

    def interrupt(what: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "Popen", Watched)
    cache = repository.parent / "cache"
    with pytest.raises(KeyboardInterrupt):
        pull_model(carry(tiny_files), repository, cache, interrupt)
    assert [process.returncode for process in started] == [-signal.SIGTERM]
    assert list((cache / "packages").iterdir()) == []
    assert not repository.exists()


def test_a_package_that_is_nowhere_is_one_sentence(
    carry: Carry, tiny_files: dict[str, bytes], repository: Path
) -> None:
    model = carry(tiny_files)
    absent = replace(model, package=replace(model.package, version="2.0", sha256="0" * 64))
    with pytest.raises(DownloadFailed, match=r"^pip could not download tiny-model==2\.0: .*No matching distribution"):
        fetched(absent, repository)


def test_a_conversion_that_fails_leaves_nothing(carry: Carry, tiny_files: dict[str, bytes], repository: Path) -> None:
    def half(source: Path, folder: Path) -> None:
        (folder / "config.json").write_bytes((source / "config.json").read_bytes())

    with pytest.raises(ImportFailed, match=r"^tokenizer\.json: missing"):
        fetched(replace(carry(tiny_files), convert=half), repository)
    assert list(repository.iterdir()) == []


def test_an_unknown_name_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UnknownModel, match=r"no known model is called 'minlm'; known are minilm, rampart"):
        pull("minlm", tmp_path)


def test_every_row_of_the_catalogue_is_complete() -> None:
    models = known_models()
    assert len({model.name for model in models}) == len(models)
    for model in models:
        assert model.notice.endswith("\n")
        assert model.licence
        assert all(isinstance(file, PackagedFile) and len(file.sha256) == 64 for file in model.package.files.values())
        carried = model.package.files.keys()
        assert {"config.json", "tokenizer.json"} <= carried or any(name.endswith(".gguf") for name in carried)
