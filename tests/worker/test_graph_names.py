"""Every text of a graph that PyTorch would paste into source is a plain name."""

import io
import json
import zipfile
from typing import Any

import pytest

from loquor_worker.engines import LoadError
from loquor_worker.engines.graph_names import check_names

GRAPH: dict[str, Any] = {
    "graph": {
        "inputs": [{"as_tensor": {"name": "x"}}],
        "nodes": [
            {
                "target": "torch.ops.aten.einsum.default",
                "inputs": [{"name": "equation", "arg": {"as_string": "i, j -> i j"}, "kind": 1}],
                "metadata": {"stack_trace": 'File "a b.py", line 1'},
                "name": "einsum",
            }
        ],
        "tensor_values": {"x": {"sizes": [{"as_expr": {"expr_str": "Symbol('s0') + 1"}}]}},
    },
    "module_call_graph": [{"fqn": "", "signature": {"in_spec": '[1, {"type": "builtins.tuple", "context": "null"}]'}}],
    "range_constraints": {"s0": {"min_val": 0}},
    "torch_version": "2.13.0+cpu",
}


def archive(graph: object) -> io.BytesIO:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as members:
        members.writestr("model/models/model.json", json.dumps(graph))
        members.writestr("model/data/weights/weight_0", b"\0 any bytes ()")
    return made


def test_a_graph_as_torch_writes_it_passes() -> None:
    made = archive(GRAPH)
    check_names(made)
    assert made.tell() == 0


@pytest.mark.parametrize(
    ("found", "replaced"),
    [
        ('"name": "x"', '"name": "x=run()"'),
        ('"name": "einsum"', '"name": "a b"'),
        ('"name": "equation"', '"name": "equation=run(), more"'),
        ('"tensor_values": {"x"', '"tensor_values": {"x\\n"'),
        ('"fqn": ""', '"fqn": "a\\"b"'),
        (r"\"context\": \"null\"", r"\"context\": \"[\\\"a':run(),'b\\\"]\""),
        (r"\"context\": \"null\"", r"\"context\": \"not json\""),
        (r"builtins.tuple", r"builtins tuple"),
    ],
)
def test_a_text_that_is_no_name_is_refused(found: str, replaced: str) -> None:
    text = json.dumps(GRAPH)
    assert found in text
    with pytest.raises(LoadError, match=r"model\.pt2: the graph"):
        check_names(archive(json.loads(text.replace(found, replaced))))
