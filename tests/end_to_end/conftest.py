"""A server whose workers are no models (see `fake_worker`), for all that is not the models' business."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import RunningServer

ServeFake = Callable[..., RunningServer]


@pytest.fixture(scope="session", autouse=True)
def short_temporary_folder() -> Iterator[None]:
    """Servers that are killed leave their sockets; here they go with the tests. The path of a socket is to be short."""
    with tempfile.TemporaryDirectory(prefix="lq") as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", folder)
        yield


@pytest.fixture(scope="session")
def fake_repository(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Versions 1 and 2 of a model called `fake`, with the tokenizer of `minilm`."""
    root = tmp_path_factory.mktemp("fake")
    for version in ("1", "2"):
        folder = root / "fake" / version
        folder.mkdir(parents=True)
        (folder / "tokenizer.json").write_bytes((models / "minilm" / "1" / "tokenizer.json").read_bytes())
        (folder / "config.json").write_text("{}")
        (folder / "model.safetensors").write_bytes(b"\x02\x00\x00\x00\x00\x00\x00\x00{}")
    return root


@pytest.fixture
def serve_fake(fake_repository: Path, tmp_path: Path) -> Iterator[ServeFake]:
    """Starts servers of a test's own: `serve_fake("--replicas", "2")`. All are stopped at its end."""
    running: list[RunningServer] = []

    def start(*arguments: str) -> RunningServer:
        running.append(start_fake(fake_repository, tmp_path / f"fake-{len(running)}.log", *arguments))
        return running[-1]

    yield start
    for server in running:
        server.stop()


def start_fake(repository: Path, log: Path, *arguments: str) -> RunningServer:
    flags = ["--address", "127.0.0.1:0", "--metrics-address", "127.0.0.1:0", "--repository", str(repository)]
    return RunningServer([*flags, *arguments], log, program="tests.end_to_end.fake_serve")
