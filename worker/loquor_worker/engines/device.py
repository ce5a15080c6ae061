"""The device that an engine runs on: which one a setting means, and what its errors mean.

It knows no model.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from loquor_worker.engines import DeviceFailed, LoadError, OutOfMemory

AUTO = "auto"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def choose_device(name: str) -> torch.device:
    """`auto` is the first CUDA device if there is one. Raises `LoadError` for a device that cannot be used."""
    if name == AUTO:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise LoadError(f"device: {name!r} cannot be used: {str(error).splitlines()[0]}") from None
    return device


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """`auto` is bfloat16 on CUDA and float32 elsewhere."""
    if name == AUTO:
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    if name not in DTYPES:
        raise LoadError(f"dtype: {name!r} is not one of {', '.join(DTYPES)}")
    return DTYPES[name]


@contextmanager
def device_errors() -> Iterator[None]:
    """Raise what the worker's loop knows in place of what the device raises."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise OutOfMemory(str(error)) from None
    except RuntimeError as error:
        if "CUDA error" in str(error):
            raise DeviceFailed(str(error)) from error
        raise
