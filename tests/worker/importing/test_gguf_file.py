"""A GGUF file becomes a version, by the library and by the command line, or nothing at all."""

import json
from pathlib import Path

import pytest

from loquor.__main__ import main
from loquor.internal.manifest import verify_manifest
from loquor_worker.importing import ImportFailed, import_gguf
from tests.worker.importing.gguf_models import SAMPLES, tiny_model, weights_in_file, write_gguf
from tests.worker.importing.gguf_tokenizers import byte_level


@pytest.fixture
def file(tmp_path: Path) -> Path:
    sample = SAMPLES["llama"]
    path = tmp_path / "Tiny-1.Q8.gguf"
    write_gguf(path, sample.name, {**sample.settings, **byte_level()}, weights_in_file(sample, tiny_model(sample)))
    return path


def test_a_file_becomes_the_next_version(file: Path, repository: Path) -> None:
    assert import_gguf(file, repository, "tiny") == repository / "tiny" / "1"
    assert import_gguf(file, repository, "tiny", precision="bfloat16") == repository / "tiny" / "2"
    assert import_gguf(file, repository, "tiny", 7) == repository / "tiny" / "7"
    assert verify_manifest(repository / "tiny" / "7")
    assert json.loads((repository / "tiny" / "2" / "config.json").read_text())["torch_dtype"] == "bfloat16"


@pytest.mark.parametrize("sample", SAMPLES)
def test_the_engine_loads_every_architecture(sample: str, tmp_path: Path, repository: Path) -> None:
    """It is tried before it is published."""
    chosen, path = SAMPLES[sample], tmp_path / "model.gguf"
    write_gguf(path, chosen.name, {**chosen.settings, **byte_level()}, weights_in_file(chosen, tiny_model(chosen)))
    assert import_gguf(path, repository, "tiny").exists()


def test_what_is_refused_leaves_nothing(file: Path, repository: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100_000])
    with pytest.raises(ImportFailed, match=r"^Tiny-1\.Q8\.gguf: tensor '.*': ends at byte .* cut short"):
        import_gguf(file, repository, "tiny")
    assert list(repository.rglob("*")) == []


def test_a_tensor_that_is_missing_is_found_by_the_trial(tmp_path: Path, repository: Path) -> None:
    sample, path = SAMPLES["llama"], tmp_path / "model.gguf"
    tensors = weights_in_file(sample, tiny_model(sample))
    del tensors["blk.1.ffn_down.weight"]
    write_gguf(path, sample.name, {**sample.settings, **byte_level()}, tensors)
    with pytest.raises(ImportFailed, match=r"model\.layers\.1\.mlp\.down_proj\.weight"):
        import_gguf(path, repository, "tiny")
    assert list(repository.rglob("*")) == []


def test_no_file(repository: Path) -> None:
    with pytest.raises(ImportFailed, match=r"absent\.gguf: no such file"):
        import_gguf(repository / "absent.gguf", repository, "tiny")


def test_the_command_line_names_it_for_the_file(
    file: Path, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "import", str(file), "--repository", str(repository), "--dtype", "float16"]) == 0
    version = repository / "Tiny-1.Q8" / "1"
    assert capsys.readouterr().out == f"Tiny-1.Q8 is in {version}\n"
    assert json.loads((version / "config.json").read_text())["torch_dtype"] == "float16"


def test_the_command_line_says_what_is_wrong(file: Path, repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_bytes(b"GGML" + file.read_bytes()[4:])
    assert main(["models", "import", str(file), "--repository", str(repository)]) == 1
    assert capsys.readouterr().err == "loquor: Tiny-1.Q8.gguf: header: this is no GGUF file\n"
    assert main(["models", "import", str(file.parent), "--repository", str(repository), "--dtype", "float16"]) == 2
    assert "--dtype is for GGUF files" in capsys.readouterr().err
