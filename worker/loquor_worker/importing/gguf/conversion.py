"""Turns one GGUF file into a version's files: configuration, tokenizer with its chat template, and weights.

It publishes nothing.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from loquor_worker.importing.gguf.architectures import key_of
from loquor_worker.importing.gguf.architectures.table import architecture_of
from loquor_worker.importing.gguf.header import Header, read_header
from loquor_worker.importing.gguf.tensor_names import weights_of
from loquor_worker.importing.gguf.tokenizer import FileTokenizer
from loquor_worker.importing.gguf.weights import Precision, precision_of_all, write_weights
from loquor_worker.importing.packages import Progress, silent


def converter(name: str) -> Callable[[Path, Path], None]:
    """For a package that carries a model as the GGUF file of this name."""
    return lambda source, folder: convert(source / name, folder, "auto", silent)


def convert(file: Path, folder: Path, precision: Precision, progress: Progress) -> None:
    """Write the model in `file` into `folder`, its weights in `precision`.

    Raises `ConversionFailed`, which names the file and the field of it, before anything is written of what is in the
    settings; and `OSError`.
    """
    header = read_header(file)
    architecture = architecture_of(header.metadata)
    tokenizer = FileTokenizer(header.metadata)
    config = architecture.configure(header) | tokenizer.special_ids()
    weights = list(weights_of(header, architecture, config))
    _check_read(header, architecture.name)
    context = header.metadata.integer(key_of(header.metadata, "context_length"))
    tokenizer.built().save(str(folder / "tokenizer.json"), pretty=False)
    _write(folder / "tokenizer_config.json", tokenizer.config(context))
    _write(folder / "generation_config.json", tokenizer.generation())
    _write(folder / "config.json", config | {"torch_dtype": precision_of_all(weights, precision)})
    write_weights(file, weights, folder / "model.safetensors", precision, progress)


def _check_read(header: Header, architecture: str) -> None:
    """Refuse a setting of the architecture that no table asked for."""
    for key in header.metadata.unread(architecture + "."):
        raise header.metadata.refuse(key, "this setting is not known, and may change what the model computes")


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
