"""How many threads a worker gets."""

from pathlib import Path

import pytest

from loquor_server import launcher


@pytest.mark.parametrize(
    ("quota", "workers", "threads"),
    [
        ("max 100000", 1, 8),
        ("400000 100000", 1, 4),
        ("400000 100000", 3, 1),
        ("50000 100000", 1, 1),
        ("1600000 100000", 2, 4),
        (None, 2, 4),
        (None, 0, 8),
    ],
)
def test_threads_are_a_share_of_what_the_container_may_use(
    quota: str | None, workers: int, threads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "cpu.max"
    if quota is not None:
        file.write_text(quota + "\n")
    monkeypatch.setattr(launcher, "_QUOTA", file)
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: set(range(8)))
    assert launcher.share_of_cores(workers) == threads
