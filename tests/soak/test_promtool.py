"""`promtool check metrics` finds nothing to say about the page of a server that has served."""

import asyncio
import shutil
import subprocess
import urllib.request
from pathlib import Path

import pytest

from tests.conftest import ROOT, RunningServer
from tests.end_to_end.conftest import start_fake
from tests.end_to_end.load import Load


@pytest.fixture(scope="module")
def promtool() -> str:
    """The machine's own, or that of the Debian package, unpacked and not installed."""
    if (found := shutil.which("promtool")) is not None:
        return found
    folder = ROOT / ".cache" / "promtool"
    program = folder / "usr" / "bin" / "promtool"
    if not program.exists():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "download", "prometheus"], cwd=folder, check=True)
        (package,) = folder.glob("prometheus_*.deb")
        subprocess.run(["dpkg", "-x", str(package), str(folder)], check=True)
        package.unlink()
    return str(program)


async def test_the_page_is_clean(promtool: str, fake_repository: Path, tmp_path: Path) -> None:
    server: RunningServer = start_fake(fake_repository, tmp_path / "log")
    try:
        async with Load(server.address, callers=2, model="fake") as load:
            await load.until_answers(10)
        assert await asyncio.to_thread(objections, promtool, server) == ""
    finally:
        server.stop()


def objections(promtool: str, server: RunningServer) -> str:
    with urllib.request.urlopen(f"http://{server.metrics_address}/metrics", timeout=10) as page:
        found = subprocess.run([promtool, "check", "metrics"], input=page.read(), capture_output=True, check=False)
    return str(found.stdout + found.stderr, "utf-8")
