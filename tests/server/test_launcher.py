"""Which workers are started, with what command line, and who gets those that were started early."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loquor_server.launcher import Launcher, ModelPlan, share_of_cores
from loquor_server.repository import ModelFolder, ModelSettings
from loquor_server.worker_process import SocketDirectory, WorkerProcess


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The command lines of the workers; no process is started."""
    lines: list[list[str]] = []

    def start(worker: WorkerProcess, _: SocketDirectory, arguments: list[str]) -> None:
        lines.append(arguments)
        worker.kill = lambda: lines.append(["killed"])  # type: ignore[method-assign]

    monkeypatch.setattr(WorkerProcess, "__init__", start)
    return lines


def plan(name: str = "one", **settings: Any) -> ModelPlan:
    return ModelPlan(ModelFolder(name, 2, Path("models") / name / "2"), ModelSettings.merged(settings))


@pytest.fixture
def launcher() -> Iterator[Launcher]:
    sockets = SocketDirectory()
    yield Launcher(sockets, log_format="json", log_level="debug")
    sockets.close()


def option(line: list[str], name: str) -> str:
    return line[line.index(name) + 1]


async def test_the_command_line_says_all_there_is_to_know(launcher: Launcher, started: list[list[str]]) -> None:
    settings: dict[str, Any] = {
        "device": "cuda:1",
        "dtype": "bfloat16",
        "threads": 3,
        "max_batch_tokens": 99,
        "task": "embed",
    }
    await launcher.launch(plan(**settings), 1)
    (line,) = started
    said = {"--model": "one", "--model-path": "models/one/2", "--replica": "1", "--log-format": "json"}
    said |= {"--log-level": "debug", "--max-batch-requests": "0", "--max-queue-delay-seconds": "0.0"}
    said |= {"--device": "cuda:1", "--dtype": "bfloat16", "--threads": "3", "--max-batch-tokens": "99"}
    said |= {"--task": "embed"}
    assert {name: option(line, name) for name in said} == said


async def test_what_was_started_early_is_handed_out_first(launcher: Launcher, started: list[list[str]]) -> None:
    wanted = plan(replicas=2)
    launcher.prepare([wanted])
    assert [option(line, "--replica") for line in started] == ["0", "1"]
    early = await launcher.launch(wanted, 1)
    assert len(started) == 2
    assert await launcher.launch(wanted, 1) is not early
    assert len(started) == 3
    launcher.kill_prepared()
    assert started[3:] == [["killed"]]


async def test_one_that_is_started_again_gets_as_many_threads(launcher: Launcher, started: list[list[str]]) -> None:
    """Though the first ones shared the cores with those of other models."""
    wanted = plan()
    launcher.prepare([wanted, plan("two", replicas=share_of_cores(1))])
    await launcher.launch(wanted, 0)
    await launcher.launch(wanted, 0)
    assert option(started[-1], "--threads") == option(started[0], "--threads") == "1"


def test_the_cores_are_shared_and_nobody_gets_none() -> None:
    cores = share_of_cores(1)
    assert cores >= 1
    assert share_of_cores(cores) == 1
    assert share_of_cores(1000) == 1
    assert share_of_cores(0) == cores
