"""Writes the weights of a file as `model.safetensors`, in a precision that keeps what the file has of it.

Numbers of 16 bits keep their type. What is in blocks becomes float32: a scale of 11 bits times a number of up to 8, and
an offset added to that, fit into neither type of 16 bits.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, get_args

from loquor_worker.importing.gguf.refusal import refused, shown
from loquor_worker.importing.gguf.safetensors_writer import Entry, SafetensorsWriter
from loquor_worker.importing.gguf.tensor_names import Weight
from loquor_worker.importing.packages import Progress

Precision = Literal["auto", "float32", "float16", "bfloat16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
_AUTO = {"F16": "float16", "BF16": "bfloat16"}
_DTYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}


def precision_of(weight: Weight, precision: Precision) -> str:
    """PyTorch's name of the type in which this weight is written."""
    return _AUTO.get(weight.source.encoding.name, "float32") if precision == "auto" else precision


def precision_of_all(weights: list[Weight], precision: Precision) -> str:
    """One name for all, of which the norms do not decide."""
    found = {precision_of(weight, precision) for weight in weights if len(weight.shape) > 1}
    return found.pop() if len(found) == 1 else "float32"


def write_weights(file: Path, weights: list[Weight], target: Path, precision: Precision, progress: Progress) -> None:
    """Write them all. Raises `ConversionFailed` for a value that is not finite, or not in this precision."""
    by_name = {weight.name: weight for weight in weights}
    entries = [Entry(name, _DTYPES[precision_of(weight, precision)], weight.shape) for name, weight in by_name.items()]
    total, done = sum(entry.size_bytes for entry in entries), 0
    with target.open("wb") as opened:
        writer = SafetensorsWriter(opened, entries)
        for entry in writer.entries:
            weight = by_name[entry.name]
            writer.fill(entry, _bytes(file, weight, precision_of(weight, precision)))
            done += entry.size_bytes
            progress(f"convert {file.name}", done, total)


def _bytes(file: Path, weight: Weight, precision: str) -> Iterator[memoryview]:
    import torch

    for piece in weight.read(file):
        values = torch.from_numpy(piece).to(getattr(torch, precision))
        if not torch.isfinite(values).all():
            field = f"tensor {shown(weight.source.name)}"
            raise refused(file, field, f"holds values that are no finite {precision} numbers")
        # By way of whole numbers, because NumPy has no bfloat16.
        yield values.view(torch.uint8).numpy().data
