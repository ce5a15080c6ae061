"""What `import loquor` costs and brings, and whom it lives with. Each in a process of its own."""

import subprocess
import sys

import pytest


def run(program: str) -> str:
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("order", ["import loquor, tritonclient.grpc", "import tritonclient.grpc, loquor"])
def test_it_lives_beside_tritonclient(order: str) -> None:
    use = "loquor.Client(); tritonclient.grpc.InferenceServerClient('127.0.0.1:1').close(); print('both')"
    assert run(f"{order}; {use}") == "both"


def test_it_brings_nothing_but_grpc_and_protobuf() -> None:
    program = (
        "import loquor, sys; print(sorted({'numpy', 'torch', 'tqdm', 'matplotlib', 'inference'} & set(sys.modules)))"
    )
    assert run(program) == "[]"


def test_it_is_quick() -> None:
    program = "import time; t = time.perf_counter(); import loquor; print(time.perf_counter() - t)"
    assert min(float(run(program)) for _ in range(3)) < 0.3


def test_help_shows_the_signature() -> None:
    shown = run("import loquor; help(loquor.Client.embed)")
    assert "truncate: bool = False" in shown
    assert "One vector for each text." in shown
