"""The packages keep to themselves: what each may import, and what nobody may."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = [path for folder in ("client", "server", "worker") for path in (ROOT / folder).rglob("*.py")]
UNSAFE = {"pickle", "cloudpickle", "dill", "marshal", "shelve"}


def imported_after(statement: str) -> set[str]:
    program = f"{statement}\nimport sys\nprint(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_client_imports_nothing_heavy() -> None:
    modules = imported_after("import loquor; loquor.Client; loquor.AsyncClient")
    assert not modules & {"numpy", "torch", "tokenizers", "structlog", "loquor_server", "loquor_worker", "inference"}
    assert not any(name.startswith("loquor_server") for name in modules)


def test_server_imports_no_torch_and_no_worker() -> None:
    modules = imported_after("import loquor_server.serve")
    assert "loquor_server.front" in modules
    assert not modules & {"torch", "transformers", "loquor_worker"}


def test_worker_imports_neither_server_nor_transformers() -> None:
    modules = imported_after("import loquor_worker.__main__, loquor_worker.engines.load")
    assert "torch" in modules
    assert not modules & {"loquor_server", "transformers"}


@pytest.mark.parametrize("order", ["import loquor, tritonclient.grpc", "import tritonclient.grpc, loquor"])
def test_client_lives_beside_tritonclient(order: str) -> None:
    modules = imported_after(f"{order}; loquor.Client")
    assert {"loquor", "tritonclient.grpc"} <= modules


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_read_that_could_run_code(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name.split(".")[0] for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [(node.module or "").split(".")[0]]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "load":
            owner = node.func.value
            assert not (isinstance(owner, ast.Name) and owner.id == "torch"), f"{path}:{node.lineno}: torch.load"
        assert not set(names) & UNSAFE, f"{path}: {names}"
