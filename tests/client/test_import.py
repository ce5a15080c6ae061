"""What `import loquor` costs and brings, and whom it lives with. Each in a process of its own."""

import subprocess
import sys

import pytest

import loquor
from loquor import _public


def run(program: str) -> str:
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("order", ["import loquor, tritonclient.grpc", "import tritonclient.grpc, loquor"])
def test_it_lives_beside_tritonclient(order: str) -> None:
    use = "loquor.Client(); tritonclient.grpc.InferenceServerClient('127.0.0.1:1').close(); print('both')"
    assert run(f"{order}; {use}") == "both"


def test_it_brings_nothing_but_grpc_and_protobuf() -> None:
    unwanted = {"numpy", "torch", "tqdm", "matplotlib", "loquor.internal"}
    assert run(f"import loquor, sys; loquor.Client; print({unwanted} & set(sys.modules))") == "set()"


@pytest.mark.parametrize("program", ["import loquor", "from loquor import *", "import loquor; loquor.Client"])
def test_it_is_quick(program: str) -> None:
    # The processor's time: the wall's is also that of whoever else is at work.
    timed = f"import time; started = time.process_time(); {program}; print(time.process_time() - started)"
    assert min(float(run(timed)) for _ in range(3)) < 0.3


def test_what_is_behind_it_is_not_imported_with_it() -> None:
    assert run("import loquor, loquor.internal, sys; print('grpc' in sys.modules)") == "False"


def test_every_name_is_there_and_no_other() -> None:
    names = set(dir(loquor)) & set(_public.__all__)
    assert names == set(_public.__all__)
    assert all(getattr(loquor, name) is getattr(_public, name) for name in names)
    with pytest.raises(AttributeError, match="module 'loquor' has no attribute 'Nope'"):
        loquor.Nope  # type: ignore[attr-defined]  # noqa: B018


def test_help_shows_the_signature() -> None:
    shown = run("import loquor; help(loquor.Client.embed)")
    assert "truncate: bool = False" in shown
    assert "One vector for each text." in shown
