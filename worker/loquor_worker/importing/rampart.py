"""Rampart's 4-bit ONNX weights, expanded to the safetensors of a `BertForTokenClassification`.

Its matrices are `MatMulNBits` nodes: blocks of 4-bit numbers, the low nibble first, each with a scale and perhaps a
zero point: weight = (number - zero point) * scale. Its embeddings are bytes with one scale and zero point each. All
else is float32 already, under the names that Hugging Face's BERT has. It knows no other ONNX graph and runs none.
"""

import re
import shutil
from pathlib import Path
from typing import Any

from loquor_worker.importing.errors import ConversionFailed

_ONNX = Path("onnx/model_q4.onnx")
_EMBEDDINGS = ("word", "position", "token_type")
# Without a zero point of its own, a block counts from the middle of the 4-bit range.
_MIDDLE = 8


def convert(source: Path, folder: Path) -> None:
    """Write `model.safetensors` and what needs no change. Raises `ConversionFailed` without the extra `convert`."""
    try:
        import onnx
        from safetensors import SafetensorError
        from safetensors.numpy import save_file
    except ImportError:
        raise ConversionFailed("rampart is converted from ONNX, which needs: pip install 'loquor[convert]'") from None
    try:
        save_file(_weights(onnx.load(source / _ONNX)), folder / "model.safetensors", metadata={"format": "pt"})
    except SafetensorError as error:
        raise ConversionFailed(f"model.safetensors cannot be written: {error}") from error
    for path in sorted(source.iterdir()):
        if path.is_file():
            shutil.copyfile(path, folder / path.name)


def _weights(model: Any) -> dict[str, Any]:
    import numpy as np
    from onnx import numpy_helper

    arrays = {array.name: numpy_helper.to_array(array) for array in model.graph.initializer}
    weights = {
        name: array
        for name, array in arrays.items()
        if name.startswith(("bert.", "classifier.")) and array.dtype == np.float32 and not name.endswith("_scale")
    }
    for kind in _EMBEDDINGS:
        name = f"bert.embeddings.{kind}_embeddings.weight"
        zero_point = arrays[name + "_zero_point"].astype(np.float32)
        weights[name] = (arrays[name + "_quantized"].astype(np.float32) - zero_point) * arrays[name + "_scale"]
    for node in model.graph.node:
        if node.op_type == "MatMulNBits":
            weights[_parameter(node.name)] = _matrix(node, arrays)
    return {name: np.ascontiguousarray(array) for name, array in weights.items()}


def _parameter(node: str) -> str:
    """`/bert/encoder/layer.0/…/query/MatMul_Q4` is the node of `bert.encoder.layer.0.….query.weight`."""
    return re.sub(r"/MatMul(_Q4)?$", "", node).strip("/").replace("/", ".") + ".weight"


def _matrix(node: Any, arrays: dict[str, Any]) -> Any:
    """The outputs x inputs matrix of a `MatMulNBits` node."""
    import numpy as np

    attributes = {attribute.name: attribute.i for attribute in node.attribute}
    rows, block = attributes["N"], attributes["block_size"]
    scales = arrays[node.input[2]].reshape(rows, -1)
    blocks = scales.shape[1]
    zero_points = np.full((rows, blocks), _MIDDLE, np.float32)
    if len(node.input) > 3 and node.input[3]:
        zero_points = _nibbles(arrays[node.input[3]].reshape(rows, -1))[:, :blocks]
    numbers = _nibbles(arrays[node.input[1]].reshape(rows, -1)).reshape(rows, blocks, block)
    weights = (numbers - zero_points[..., None]) * scales[..., None]
    return weights.reshape(rows, -1)[:, : attributes["K"]]


def _nibbles(packed: Any) -> Any:
    """Rows of bytes to rows of the two numbers in each, the low one first."""
    import numpy as np

    return np.stack([packed & 15, packed >> 4], axis=-1).reshape(len(packed), -1).astype(np.float32)
