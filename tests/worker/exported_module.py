"""Modules saved by `torch.export` as a model's folder, for the tests of the tensor engine."""

import json
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch

BATCH = torch.export.Dim("batch", max=100)


class Affine(torch.nn.Module):
    """Two inputs, two outputs, weights."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(4, 3)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.linear(x) + y, x.sum(dim=-1).to(torch.int64)


class Twice(torch.nn.Module):
    """Of any type and shape."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat((x, x), dim=-1)


def save_module(
    folder: Path,
    module: torch.nn.Module,
    examples: Sequence[torch.Tensor],
    names: tuple[Sequence[str], Sequence[str]],
    dynamic: Sequence[dict[int, Any]] | None = None,
) -> torch.nn.Module:
    """Names are those of inputs and outputs. Every first axis is dynamic unless `dynamic` says otherwise."""
    shapes = tuple(dynamic) if dynamic is not None else tuple({0: BATCH} for _ in examples)
    program = torch.export.export(module, tuple(examples), dynamic_shapes=shapes)
    torch.export.save(program, folder / "model.pt2")
    inputs, outputs = (json.dumps(list(kind)) for kind in names)
    (folder / "loquor.toml").write_text(f"[tensor]\ninputs = {inputs}\noutputs = {outputs}\n")
    return module


def save_affine(folder: Path) -> torch.nn.Module:
    """The same module and archive every time: an export takes a second."""
    module, archive, settings = _affine()
    (folder / "model.pt2").write_bytes(archive)
    (folder / "loquor.toml").write_text(settings)
    return module


@cache
def _affine() -> tuple[torch.nn.Module, bytes, str]:
    torch.manual_seed(3)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        module = save_module(folder, Affine(), (torch.zeros(2, 4), torch.zeros(2, 3)), (("x", "y"), ("z", "total")))
        return module, (folder / "model.pt2").read_bytes(), (folder / "loquor.toml").read_text()


def rewrite(path: Path, change: Callable[[str, bytes], bytes | None], more: dict[str, bytes] | None = None) -> None:
    """Change an archive's members by name (without the archive's own folder); None leaves one out."""
    with zipfile.ZipFile(path) as source:
        members = {member.filename: source.read(member) for member in source.infolist()}
    root = next(iter(members)).partition("/")[0]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as target:
        for name, data in members.items():
            changed = change(name.removeprefix(f"{root}/"), data)
            if changed is not None:
                target.writestr(name, changed)
        for name, data in (more or {}).items():
            target.writestr(f"{root}/{name}", data)
