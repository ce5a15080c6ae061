"""Files of every architecture, converted once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gguf import GGMLQuantizationType

from loquor_worker.importing.gguf.conversion import convert
from loquor_worker.importing.gguf.weights import Precision
from loquor_worker.importing.packages import silent
from tests.worker.importing.gguf_models import SAMPLES, Array, tiny_model, weights_in_file, write_gguf
from tests.worker.importing.gguf_tokenizers import byte_level


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    """Write a file of the given sample, with settings that are other ones or (None) missing, and other tensors."""

    def write(
        sample: str = "llama",
        *,
        settings: dict[str, Any] | None = None,
        tensors: dict[str, Array | None] | None = None,
        encode: Callable[[str, Array], GGMLQuantizationType] = lambda name, array: GGMLQuantizationType.F32,
    ) -> Path:
        chosen = SAMPLES[sample]
        said = {**chosen.settings, **byte_level(), **(settings or {})}
        arrays = {**weights_in_file(chosen, tiny_model(chosen)), **(tensors or {})}
        write_gguf(
            tmp_path / "model.gguf",
            chosen.name,
            {key: value for key, value in said.items() if value is not None},
            {name: array for name, array in arrays.items() if array is not None},
            encode,
        )
        return tmp_path / "model.gguf"

    return write


@pytest.fixture
def converted(tmp_path: Path) -> Callable[..., Path]:
    """Convert a file, and return the folder."""

    def run(file: Path, precision: Precision = "auto") -> Path:
        folder = tmp_path / "converted"
        folder.mkdir(exist_ok=True)
        convert(file, folder, precision, silent)
        return folder

    return run
