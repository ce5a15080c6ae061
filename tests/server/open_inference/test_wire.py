"""Our messages against those of an unmodified client: every field that we have agrees with theirs, number and type.

The client's messages have the same names, so they are read in another process.
"""

import json
import subprocess
import sys
from typing import Any

from loquor_server.inference import open_inference_pb2 as oip

_DESCRIBE = """
import json
from tritonclient.grpc import model_config_pb2, service_pb2

def describe(field):
    kind = field.message_type or field.enum_type
    return [field.number, field.type, field.is_repeated, kind.full_name if kind else ""]

def fields(message, into):
    into[message.full_name] = {field.name: describe(field) for field in message.fields}
    for nested in message.nested_types:
        fields(nested, into)

messages = {}
for file in (service_pb2.DESCRIPTOR, model_config_pb2.DESCRIPTOR):
    for message in file.message_types_by_name.values():
        fields(message, messages)
methods = {}
for method in service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods:
    methods[method.name] = [method.input_type.full_name, method.output_type.full_name]
kinds = {v.name: v.number for v in model_config_pb2.DESCRIPTOR.enum_types_by_name["DataType"].values}
print(json.dumps({"messages": messages, "methods": methods, "data_types": kinds}))
"""

# Of these we have a part.
_PARTIAL = {f"inference.{name}" for name in ("ModelConfig", "ModelInput", "ModelOutput", "ModelInstanceGroup")}
# Of the protocol itself; Triton and its client do not have them.
_PROPERTIES = "inference.ModelMetadataResponse.PropertiesEntry"


def _describe_client() -> dict[str, Any]:
    ran = subprocess.run([sys.executable, "-c", _DESCRIBE], capture_output=True, text=True, check=True)
    described: dict[str, Any] = json.loads(ran.stdout)
    return described


def _describe_ours(message: Any, into: dict[str, dict[str, list[Any]]]) -> None:
    into[message.full_name] = {}
    for field in message.fields:
        kind = field.message_type or field.enum_type
        described = [field.number, field.type, field.is_repeated, kind.full_name if kind else ""]
        into[message.full_name][field.name] = described
    for nested in message.nested_types:
        _describe_ours(nested, into)


def test_our_messages_and_methods_are_theirs() -> None:
    theirs = _describe_client()
    ours: dict[str, dict[str, list[Any]]] = {}
    for message in oip.DESCRIPTOR.message_types_by_name.values():
        _describe_ours(message, ours)
    del ours[_PROPERTIES]
    del ours["inference.ModelMetadataResponse"]["properties"]
    for name, fields in ours.items():
        expected = theirs["messages"][name]
        assert fields == ({field: expected[field] for field in fields} if name in _PARTIAL else expected), name
    service = oip.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    assert {m.name: [m.input_type.full_name, m.output_type.full_name] for m in service.methods} == theirs["methods"]
    assert dict(oip.DataType.items()) == theirs["data_types"]
