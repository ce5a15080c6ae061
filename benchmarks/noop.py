"""The tensor model that does nothing: what the front is measured with.

It takes x, float32 [n, 1], and gives it back as y. `repository()` makes its folder with `torch.export`, once.
"""

import struct
from pathlib import Path

from benchmarks.service import CACHE
from loquor.v1 import tensor_service_pb2 as api
from loquor_server.inference import open_inference_pb2 as oip

NAME = "noop"
METHOD = "loquor.v1.TensorService/Infer"
OPEN_METHOD = "inference.GRPCInferenceService/ModelInfer"

_ROW = struct.pack("<f", 0.5)

_SETTINGS = """\
task = "infer"

[tensor]
inputs = ["x"]
outputs = ["y"]
"""


def repository() -> Path:
    """A model repository with this one model."""
    root = CACHE / "models"
    folder = root / NAME / "1"
    if not (folder / "loquor.toml").exists():
        folder.mkdir(parents=True, exist_ok=True)
        _export(folder / "model.pt2")
        (folder / "loquor.toml").write_text(_SETTINGS)
    return root


def request() -> bytes:
    """One row, in the words of `loquor.v1`."""
    tensor = api.Tensor(name="x", data_type=api.DATA_TYPE_FLOAT32, shape=[1, 1], data=_ROW)
    return api.InferRequest(model=NAME, inputs=[tensor]).SerializeToString()


def open_request() -> bytes:
    """The same row, in those of the Open Inference Protocol."""
    tensor = oip.ModelInferRequest.InferInputTensor(name="x", datatype="FP32", shape=[1, 1])
    request = oip.ModelInferRequest(model_name=NAME, inputs=[tensor], raw_input_contents=[_ROW])
    return bytes(request.SerializeToString())


def _export(file: Path) -> None:
    import torch

    class Nothing(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.clone()

    rows = torch.export.Dim("rows")
    program = torch.export.export(Nothing(), (torch.zeros(2, 1),), dynamic_shapes=({0: rows},))
    torch.export.save(program, file)
