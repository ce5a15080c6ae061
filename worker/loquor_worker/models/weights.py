"""Puts a checkpoint's tensors into a module that was made without storage.

It knows how stems become names, and no family: the tables come from `families`.
"""

from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

from loquor_worker.checkpoint import Checkpoint
from loquor_worker.engines import LoadError

# Checkpoints converted from TensorFlow call the parts of a norm so.
OLD_SUFFIXES = {"weight": "gamma", "bias": "beta"}


def fill(
    module: nn.Module,
    checkpoint: Checkpoint,
    stems: Mapping[str, tuple[str, ...]],
    *,
    device: torch.device,
    dtype: torch.dtype,
    turned: Collection[str] = (),
) -> None:
    """Give every parameter of `module` that has no storage its tensor, and move what else it has to the device.

    One that needs neither joining, turning nor another type is not copied. The weights of the stems in `turned` are
    [inputs, outputs] in the checkpoint.
    """
    state = module.state_dict()
    for name, parameter in state.items():
        if not parameter.is_meta:
            continue
        stem, _, suffix = name.rpartition(".")
        names = [_existing(checkpoint, source, suffix) for source in stems[stem]]
        is_turned = stem in turned and suffix == "weight"
        state[name] = _joined(checkpoint, names, parameter.shape, is_turned).to(device=device, dtype=dtype)
    module.load_state_dict(state, assign=True)
    module.to(device)
    module.requires_grad_(False)


def _existing(checkpoint: Checkpoint, stem: str, suffix: str) -> str:
    old = f"{stem}.{OLD_SUFFIXES[suffix]}"
    return old if old in checkpoint else f"{stem}.{suffix}"


def _joined(checkpoint: Checkpoint, names: list[str], shape: torch.Size, is_turned: bool) -> Tensor:
    tensors = [checkpoint.tensor(name) for name in names]
    if is_turned:
        tensors = [tensor.t().contiguous() for tensor in tensors]
    tensor = tensors[0] if len(tensors) == 1 else torch.cat(tensors)
    if tensor.shape != shape:
        raise LoadError(
            f"{checkpoint.where(names[0])}: its shape is {list(tensor.shape)}, config.json asks for {list(shape)}"
        )
    return tensor
