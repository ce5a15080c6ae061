"""Every text of a graph that PyTorch would paste into source is a plain name."""

import json
from typing import Any

import pytest

from loquor.internal.graph_names import GraphNameError, check_names

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


def test_a_graph_as_torch_writes_it_passes() -> None:
    check_names(GRAPH)
    assert GRAPH["torch_version"] == "2.13.0+cpu"  # it is read, not changed


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
    with pytest.raises(GraphNameError, match="the graph"):
        check_names(json.loads(text.replace(found, replaced)))
