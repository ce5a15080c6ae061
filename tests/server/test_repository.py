"""The repository as the server reads it: names, versions, refusals, a version's own settings."""

import json
import struct
from pathlib import Path

import pytest
from grpc import StatusCode

from loquor.internal.manifest import write_manifest
from loquor_server.errors import ModelNotFound
from loquor_server.repository import ModelFilesRefused, ModelFolder, Repository


def publish(root: Path, name: str, version: int) -> Path:
    folder = root / name / str(version)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "tokenizer.json").write_text("{}")
    header = json.dumps({"a": {"dtype": "U8", "shape": [64], "data_offsets": [0, 64]}}).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(64))
    write_manifest(folder)
    return folder


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    root = tmp_path / "models"
    for name, version in (("minilm", 1), ("minilm", 2), ("minilm", 10), ("rampart", 3)):
        publish(root, name, version)
    return Repository(root)


def test_it_lists_names_and_versions(repository: Repository) -> None:
    assert repository.names() == ["minilm", "rampart"]
    assert repository.versions("minilm") == [1, 2, 10]
    assert repository.newest("minilm") == 10


def test_it_resolves_the_newest_or_the_asked_version(repository: Repository) -> None:
    root = repository.root
    assert repository.resolve("minilm") == ModelFolder("minilm", 10, root / "minilm" / "10")
    assert repository.resolve("minilm", 2) == ModelFolder("minilm", 2, root / "minilm" / "2")


def test_a_version_is_seen_as_soon_as_it_is_there(repository: Repository) -> None:
    publish(repository.root, "minilm", 11)
    assert repository.resolve("minilm").version == 11


def test_an_absent_repository_is_an_empty_one(tmp_path: Path) -> None:
    assert Repository(tmp_path / "absent").names() == []


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("absent", None),
        ("minilm", 3),
        ("minilm", 0),
        ("minilm", -1),
        ("minilm", 2**63 - 1),
        ("", None),
        (".", None),
        ("..", None),
        ("../models/minilm", 1),
        ("minilm/../rampart", 3),
        ("/etc", None),
        ("minilm\x00", 1),
        ("m" * 300, None),
    ],
)
def test_what_is_not_there_is_not_found(repository: Repository, name: str, version: int | None) -> None:
    with pytest.raises(ModelNotFound) as caught:
        repository.resolve(name, version)
    assert caught.value.code is StatusCode.NOT_FOUND
    assert len(caught.value.message) < 250


def test_a_whole_version_passes(repository: Repository) -> None:
    repository.check(repository.resolve("minilm"))
    assert repository.settings(repository.resolve("minilm")) == {}


@pytest.mark.parametrize("offset", [0, 3, 8, 9, 30, 63, 64, 90, 110, -1])
def test_one_flipped_bit_in_the_weights_is_named_and_other_versions_stay(repository: Repository, offset: int) -> None:
    folder = repository.resolve("minilm", 10)
    path = folder.path / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[offset] ^= 4
    path.write_bytes(data)
    with pytest.raises(ModelFilesRefused) as caught:
        repository.check(folder)
    assert (caught.value.model, caught.value.file) == ("minilm", "model.safetensors")
    repository.check(repository.resolve("minilm", 2))


def test_every_truncation_of_the_weights_is_named(repository: Repository) -> None:
    folder = repository.resolve("minilm")
    path = folder.path / "model.safetensors"
    data = path.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(ModelFilesRefused, match=r"model minilm: model\.safetensors: "):
            repository.check(folder)


def test_a_version_that_vanishes_is_refused_not_a_crash(repository: Repository) -> None:
    folder = repository.resolve("minilm")
    gone = ModelFolder(folder.name, 99, folder.path.with_name("99"))
    with pytest.raises(ModelFilesRefused, match="No such file"):
        repository.check(gone)


def test_a_versions_own_settings(repository: Repository) -> None:
    folder = repository.resolve("minilm")
    (folder.path / "loquor.toml").write_text(
        'task = "embed"\nreplicas = 2\n[tensor]\ninputs = ["x", "y"]\noutputs = ["z"]\n'
    )
    assert repository.settings(folder) == {"task": "embed", "replicas": 2}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("replicas = ", "not TOML"),
        ("replica = 2", "replica"),
        ("replicas = 0", "replicas"),
        ("replicas = 2.5", "replicas"),
        ("replicas = true", "replicas"),
        ('task = "sing"', "task"),
        ('device = "tpu"', "device"),
        ('device = "cuda:x"', "device"),
        ('dtype = "int4"', "dtype"),
        ("max_queue_delay_seconds = -1", "max_queue_delay_seconds"),
        ("max_queue_delay_seconds = nan", "max_queue_delay_seconds"),
        ("tensor = 1", "tensor"),
        ("[tensor]\ninputs = []\noutputs = ['z']", r"tensor\.inputs"),
        ("[tensor]\ninputs = ['x', 'x']\noutputs = ['z']", r"tensor\.inputs"),
        ("[tensor]\ninputs = ['x']\noutputs = [1]", r"tensor\.outputs"),
        ("[tensor]\ninputs = ['x']", "tensor"),
        ("[tensor]\ninputs = ['x']\noutputs = ['z']\nmore = 1", "tensor"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named_with_its_file(repository: Repository, text: str, named: str) -> None:
    folder = repository.resolve("minilm")
    (folder.path / "loquor.toml").write_text(text)
    with pytest.raises(ModelFilesRefused, match=rf"^model minilm: loquor\.toml: .*{named}"):
        repository.settings(folder)


def test_settings_that_are_no_text_are_refused(repository: Repository) -> None:
    folder = repository.resolve("minilm")
    (folder.path / "loquor.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ModelFilesRefused, match=r"loquor\.toml: not TOML"):
        repository.settings(folder)
