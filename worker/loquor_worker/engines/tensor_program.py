"""A module saved by `torch.export`: loaded without running what its archive holds, with what it says of its inputs.

The only module that knows `torch.export`. It knows no request and no batch.
"""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.export
from torch.export.passes import move_to_device_pass
from torch.fx.graph import CodeGen

from loquor.internal.tensor_archive import ArchiveError, read_archive
from loquor_worker.engines import LoadError
from loquor_worker.engines.tensor_signature import DATA_TYPES, Axis, Signature

TENSOR_FILE = "model.pt2"
SETTINGS_FILE = "loquor.toml"
HOW_TO_EXPORT = (
    "export it with a dynamic batch, as in "
    'torch.export.export(module, (x,), dynamic_shapes=({0: torch.export.Dim("batch")},))'
)


@dataclass(frozen=True)
class TensorProgram:
    """Flat tensors in, flat tensors out, in the order of the signatures."""

    inputs: tuple[Signature, ...]
    outputs: tuple[Signature, ...]
    run: Any
    device: torch.device

    @classmethod
    def load(cls, folder: Path, device: torch.device) -> "TensorProgram":
        """Raises `LoadError` for an archive that is damaged, that would run code, or that has no dynamic batch."""
        path = folder / TENSOR_FILE
        exported = _exported(path)
        try:
            signature = exported.graph_signature
            inputs = _signatures(path, exported, "inputs", signature.user_inputs, _names(folder, "inputs"))
            outputs = _signatures(path, exported, "outputs", signature.user_outputs, _names(folder, "outputs"))
            if device.type != "cpu":
                exported = move_to_device_pass(exported, device)
            return cls(inputs, outputs, _compiled(exported), device)
        except (RuntimeError, ValueError, KeyError, AttributeError, SyntaxError) as error:
            raise LoadError(f"{path}: not a program that can be run: {error}") from None


def _exported(path: Path) -> torch.export.ExportedProgram:
    try:
        return torch.export.load(read_archive(path))
    except FileNotFoundError:
        raise LoadError(f"{path}: the file is missing") from None
    except ArchiveError as error:
        raise LoadError(f"{path}: {error}") from None
    except Exception as error:
        # The loader raises of any kind on a graph that it does not understand; nothing of it is kept.
        raise LoadError(f"{path}: this torch ({torch.__version__}) cannot load it: {error}") from None


def _compiled(exported: torch.export.ExportedProgram) -> Any:
    """The program's own function, without the checks and the nesting that a call of the module adds to every step.

    Inputs are checked by their signatures. A step that does nothing takes 7 µs so, 157 µs as a call of the module.
    """
    module = exported.module()
    module.graph.set_codegen(CodeGen())
    module.recompile()
    return module.forward


def _names(folder: Path, key: str) -> list[str]:
    path = folder / SETTINGS_FILE
    try:
        names = tomllib.loads(path.read_text(encoding="utf-8"))["tensor"][key]
    except FileNotFoundError:
        raise LoadError(
            f"{path}: the file is missing; [tensor] names the inputs and outputs of {TENSOR_FILE}"
        ) from None
    except (KeyError, TypeError):
        raise LoadError(f"{path}: [tensor] {key} is missing: a list of names") from None
    except ValueError as error:
        raise LoadError(f"{path}: not readable as TOML: {error}") from None
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise LoadError(f"{path}: [tensor] {key}: a list of names was expected")
    if len(set(names)) != len(names):
        raise LoadError(f"{path}: [tensor] {key}: a name stands in it twice")
    return names


def _signatures(
    path: Path, exported: torch.export.ExportedProgram, kind: str, nodes: Sequence[object], names: list[str]
) -> tuple[Signature, ...]:
    if len(nodes) != len(names):
        raise LoadError(
            f"{path.parent / SETTINGS_FILE}: [tensor] {kind}: {len(names)} names, the module has {len(nodes)}"
        )
    values = {node.name: node.meta.get("val") for node in exported.graph.nodes}
    return tuple(
        _signature(path, exported, name, values.get(str(node))) for name, node in zip(names, nodes, strict=True)
    )


def _signature(path: Path, exported: torch.export.ExportedProgram, name: str, value: object) -> Signature:
    if not isinstance(value, torch.Tensor):
        raise LoadError(f"{path}: {name!r} is not a tensor; only tensors go in and out")
    if value.dtype not in DATA_TYPES:
        raise LoadError(f"{path}: {name!r} is of type {value.dtype}, which has no place in the protocol")
    axes = tuple(_axis(exported, size) for size in value.shape)
    if not axes or axes[0].size >= 0:
        raise LoadError(
            f"{path}: the first axis of {name!r} is of fixed size {axes[0] if axes else 0}; {HOW_TO_EXPORT}"
        )
    return Signature(name, value.dtype, axes)


def _axis(exported: torch.export.ExportedProgram, size: int | torch.SymInt) -> Axis:
    if isinstance(size, int):
        return Axis(size=size)
    bounds = exported.range_constraints.get(size.node.expr)
    if bounds is None:
        return Axis()
    # A bound that is no integer is one of the compiler's infinities.
    low, high = (int(bound) if bound.is_Integer else None for bound in (bounds.lower, bounds.upper))
    return Axis(symbol=str(size.node.expr), low=low or 0, high=high)
