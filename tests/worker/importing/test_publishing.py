"""A version appears whole or not at all, whatever happens on the way."""

import errno
import fcntl
import os
import shutil
import threading
from pathlib import Path

import pytest

from loquor_worker.importing import ImportFailed, import_folder
from loquor_worker.importing.publishing import new_version


def test_a_full_disk_leaves_nothing(source: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: Path, target: Path) -> None:
        target.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(ImportFailed, match="No space left on device"):
        import_folder(source, repository, "tiny")
    assert list(repository.iterdir()) == []


def test_an_interrupt_leaves_nothing_and_goes_on(repository: Path) -> None:
    def interrupted() -> None:
        with new_version(repository, "tiny") as building:
            (building.folder / "config.json").write_text("{}")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(repository.iterdir()) == []


def test_nothing_is_seen_before_it_is_whole(source: Path, repository: Path) -> None:
    with new_version(repository, "tiny") as building:
        for path in source.iterdir():
            shutil.copy(path, building.folder)
            assert [entry.name for entry in (repository / "tiny").iterdir()] == [building.folder.name]
            assert not building.folder.name.isdigit()
    assert building.path == repository / "tiny" / "1"


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_builds_is_not(
    source: Path, repository: Path
) -> None:
    dead, alive = repository / "tiny" / ".partial-dead", repository / "tiny" / ".partial-alive"
    for folder in (dead, alive):
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
    descriptor = os.open(alive, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        import_folder(source, repository, "tiny")
    finally:
        os.close(descriptor)
    assert sorted(os.listdir(repository / "tiny")) == [".partial-alive", "1"]


def test_many_at_once_get_a_number_each(source: Path, repository: Path) -> None:
    found: list[Path] = []
    threads = [
        threading.Thread(target=lambda: found.append(import_folder(source, repository, "tiny"))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(path.name for path in found) == ["1", "2", "3", "4"]
    assert sorted(os.listdir(repository / "tiny")) == ["1", "2", "3", "4"]


def test_a_version_taken_meanwhile_is_not_replaced(source: Path, repository: Path) -> None:
    def overtaken() -> None:
        with new_version(repository, "tiny", 5) as building:
            for path in source.iterdir():
                shutil.copy(path, building.folder)
            (repository / "tiny" / "5").mkdir()
            (repository / "tiny" / "5" / "theirs").write_text("x")

    with pytest.raises(ImportFailed, match="not empty"):
        overtaken()
    assert [path.name for path in (repository / "tiny" / "5").iterdir()] == ["theirs"]
