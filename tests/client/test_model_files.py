"""What is refused, by its name and with a reason, before anything of a model is opened."""

import json
import os
import struct
from pathlib import Path, PurePath

import pytest

from loquor.internal.manifest import write_manifest
from loquor.internal.model_files import FileKind, ModelFilesRefused, check_files, kind_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A version as small as it can be."""
    path = tmp_path / "7"
    path.mkdir()
    (path / "config.json").write_text('{"model_type": "bert"}')
    (path / "tokenizer.json").write_text("{}")
    header = json.dumps({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    (path / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))
    return path


def refusal(folder: Path) -> ModelFilesRefused:
    with pytest.raises(ModelFilesRefused) as caught:
        check_files("m", folder)
    assert caught.value.model == "m"
    assert str(caught.value) == f"model m: {caught.value.file}: {caught.value.reason}"
    return caught.value


def test_a_downloaded_folder_works_as_it_is(folder: Path) -> None:
    for name in (
        "README.md",
        "LICENSE",
        "NOTICE",
        "LICENSE.txt",
        ".gitattributes",
        "vocab.txt",
        "sentencepiece.bpe.model",
    ):
        (folder / name).write_text("")
    for name in ("onnx/model.onnx", "openvino/openvino_model.bin", ".cache/huggingface/x.metadata", ".git/HEAD"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text("{}")
    check_files("m", folder)


@pytest.mark.parametrize(
    "name", ["modeling_evil.py", "sub/x.py", "X.PY", "a.pyc", "kernel.so", "run.sh", "notebook.ipynb"]
)
def test_code_is_refused(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("")
    found = refusal(folder)
    assert found.file == name
    assert found.reason == FileKind.CODE.value


@pytest.mark.parametrize(
    "name",
    [
        "pytorch_model.bin",
        "2_Dense/pytorch_model.bin",
        "model.pt",
        "model.PTH",
        "m.pkl",
        "m.ckpt",
        "m.joblib",
        "tf_model.h5",
    ],
)
def test_formats_that_run_code_are_refused(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"\x80\x04")
    found = refusal(folder)
    assert found.file == name
    assert "convert it to safetensors" in found.reason


@pytest.mark.parametrize(
    "name", ["model.onnx", "weights.gguf", "rust_model.ot", "noextension", "archive.zip", "other.pt2", ".env"]
)
def test_unknown_kinds_are_refused(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"")
    assert (refusal(folder).file, kind_of(PurePath(name))) == (name, FileKind.FOREIGN)


@pytest.mark.parametrize(
    "file", ["config.json", "tokenizer_config.json", "1_Pooling/config.json", "generation_config.json"]
)
@pytest.mark.parametrize(
    "document",
    [
        {"auto_map": {"AutoModel": "modeling_evil.Evil"}},
        {"auto_map": None},
        {"vision_config": {"auto_map": {}}},
        {"layers": [1, {"deep": [{"auto_map": 1}]}]},
        {"custom_pipelines": {"x": {"impl": "evil.Pipe"}}},
    ],
)
def test_a_configuration_that_names_code_is_refused(folder: Path, file: str, document: object) -> None:
    (folder / file).parent.mkdir(exist_ok=True)
    (folder / file).write_text(json.dumps(document))
    found = refusal(folder)
    assert found.file == file
    assert "code of its own" in found.reason


def test_the_code_that_auto_map_names_is_not_run(folder: Path) -> None:
    canary = folder.parent / "canary"
    (folder / "configuration_evil.py").write_text(f"open({str(canary)!r}, 'w')")
    (folder / "config.json").write_text(json.dumps({"auto_map": {"AutoConfig": "configuration_evil.Evil"}}))
    refusal(folder)
    (folder / "configuration_evil.py").unlink()
    assert refusal(folder).file == "config.json"
    assert not canary.exists()


def test_modules_of_the_models_own_are_refused(folder: Path) -> None:
    (folder / "modules.json").write_text('[{"type": "sentence_transformers.models.Transformer"}]')
    check_files("m", folder)
    (folder / "modules.json").write_text('[{"type": "custom_st.Transformer"}]')
    assert refusal(folder).file == "modules.json"


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "\x00"])
def test_a_configuration_that_is_not_json_is_refused(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    assert (refusal(folder).file, refusal(folder).reason) == ("config.json", "not JSON")


def test_a_deep_configuration_does_not_exhaust_the_stack(folder: Path) -> None:
    (folder / "config.json").write_text('{"a": ' * 900 + '{"auto_map": 1}' + "}" * 900)
    assert "auto_map" in refusal(folder).reason


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_what_is_missing_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    found = refusal(folder)
    assert found.file == name
    assert found.reason.startswith("missing")


def test_weights_that_lie_are_named(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    assert refusal(folder).file == "model.safetensors"


@pytest.mark.parametrize("shard", ["absent.safetensors", "../7/model.safetensors", "/model.safetensors"])
def test_an_index_that_names_no_file_of_the_folder_is_refused(folder: Path, shard: str) -> None:
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "model.safetensors"}}))
    check_files("m", folder)
    index.write_text(json.dumps({"weight_map": {"a": "model.safetensors", "b": shard}}))
    assert refusal(folder).file == "model.safetensors.index.json"


def test_links_stay_inside(folder: Path) -> None:
    (folder / "copy.txt").symlink_to("config.json")
    check_files("m", folder)
    (folder.parent / "secret.txt").write_text("x")
    (folder / "vocab.txt").symlink_to(folder.parent / "secret.txt")
    assert refusal(folder).file == "vocab.txt"


@pytest.mark.parametrize("target", ["..", "/", "1_Pooling", "absent.txt", "loop.txt"])
def test_links_to_folders_and_to_nothing_are_refused(folder: Path, target: str) -> None:
    (folder / "1_Pooling").mkdir()
    (folder / "loop.txt").symlink_to(target)
    assert refusal(folder).file == "loop.txt"


def test_a_pipe_is_refused_and_not_opened(folder: Path) -> None:
    os.mkfifo(folder / "vocab.txt")
    assert refusal(folder).file == "vocab.txt"


def test_damage_after_publishing_is_found(folder: Path) -> None:
    write_manifest(folder)
    check_files("m", folder)
    (folder / "tokenizer.json").write_text("[]")
    found = refusal(folder)
    assert found.file == "tokenizer.json"
    assert found.reason.startswith("expected SHA-256")


def test_a_tensor_model_is_an_archive_and_its_signature(folder: Path) -> None:
    (folder / "model.pt2").write_bytes(b"")
    assert "one folder holds one model" in refusal(folder).reason
    (folder / "model.safetensors").unlink()
    assert (refusal(folder).file, refusal(folder).reason) == ("loquor.toml", "missing")
