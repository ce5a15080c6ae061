"""Hostile messages on every unary method: answered or refused in plain words, and the server serves on."""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest
import tokenizers
import torch
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.unknown_fields import UnknownFieldSet

from loquor.v1 import language_service_pb2 as api
from loquor.v1 import model_service_pb2 as model_api
from loquor.v1 import tensor_service_pb2 as tensor_api
from loquor_server.inference import open_inference_pb2 as oip
from tests.conftest import RunningServer
from tests.worker.encoder_folder import save_bert

HONEST = {
    "OK",
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "FAILED_PRECONDITION",
    "RESOURCE_EXHAUSTED",
    "UNIMPLEMENTED",
    "PERMISSION_DENIED",
}
INTERNALS = ("<class", "Traceback", "google.protobuf", "object at 0x", ".py", "DecodeError", "KeyError", "ValueError")
TEXT: dict[str, Any] = {"model": "embedder", "texts": ["good bad", "good"]}


class _Adder(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 1


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with a small random model of every task, and model control off, so that nothing unloads them."""
    root = tmp_path_factory.mktemp("hostile")
    kinds = {"embedder": "Model", "sentiment": "ForSequenceClassification", "tagger": "ForTokenClassification"}
    for name, kind in kinds.items():
        labels: dict[str, Any] = {"id2label": {0: "O", 1: "B-X", 2: "I-X"}} if name != "embedder" else {}
        save_bert(root / name / "1", kind, **labels)
        _save_tokenizer(root / name / "1" / "tokenizer.json")
    adder = root / "adder" / "1"
    adder.mkdir(parents=True)
    exported = torch.export.export(_Adder(), (torch.zeros(3, 2),), dynamic_shapes=({0: torch.export.Dim("n", max=64)},))
    torch.export.save(exported, adder / "model.pt2")
    (adder / "loquor.toml").write_text('[tensor]\ninputs = ["x"]\noutputs = ["y"]\n')
    flags = ["--address", "127.0.0.1:0", "--metrics-address", "127.0.0.1:0", "--repository", str(root)]
    options = ["--threads", "1", "--model-control", "off"]
    running = RunningServer([*flags, *options], tmp_path_factory.mktemp("log") / "log")
    yield running
    assert running.stop() == 0


def _save_tokenizer(path: Path) -> None:
    words = ["[UNK]", "[CLS]", "[SEP]", "good", "bad"]
    model = tokenizers.models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="[UNK]")
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    tokenizer.save(str(path))


def tensor() -> tensor_api.Tensor:
    return tensor_api.Tensor(name="x", data_type=tensor_api.DATA_TYPE_FLOAT32, shape=[2, 2], data=bytes(16))


def infer_request() -> oip.ModelInferRequest:
    request = oip.ModelInferRequest(model_name="adder", model_version="1", id="an id")
    request.inputs.add(name="x", datatype="FP32", shape=[2, 2])
    request.outputs.add(name="y")
    request.parameters["priority"].uint64_param = 3
    request.parameters["timeout"].int64_param = 10_000_000
    request.raw_input_contents.append(bytes(16))
    return request


# A message of each kind that is answered with OK. Other kinds are tried from an empty one.
VALID: dict[str, Message] = {
    "EmbedRequest": api.EmbedRequest(**TEXT, version=1, truncate=True, normalize=True),
    "ClassifyRequest": api.ClassifyRequest(
        model="sentiment",
        inputs=[api.ClassifyInput(text="good"), api.ClassifyInput(text="bad", text_pair="good")],
        top_k=2,
    ),
    "TagTokensRequest": api.TagTokensRequest(model="tagger", texts=["good bad"], min_score=0.1),
    "TokenizeRequest": api.TokenizeRequest(**TEXT, add_special_tokens=False),
    "DetokenizeRequest": api.DetokenizeRequest(model="embedder", sequences=[api.TokenSequence(ids=[1, 3, 2])]),
    "GetModelRequest": model_api.GetModelRequest(name="embedder", version=1),
    "InferRequest": tensor_api.InferRequest(model="adder", inputs=[tensor()], output_names=["y"]),
    "ModelInferRequest": infer_request(),
    "ModelReadyRequest": oip.ModelReadyRequest(name="embedder", version="1"),
    "ModelMetadataRequest": oip.ModelMetadataRequest(name="embedder", version="1"),
    "ModelConfigRequest": oip.ModelConfigRequest(name="embedder", version="1"),
    "ModelStatisticsRequest": oip.ModelStatisticsRequest(name="embedder", version="1"),
}

NUMBERS: dict[int, Sequence[Any]] = {
    FieldDescriptor.CPPTYPE_INT32: [0, -1, 2**31 - 1, -(2**31)],
    FieldDescriptor.CPPTYPE_INT64: [0, -1, 2**63 - 1, -(2**63), 2**31],
    FieldDescriptor.CPPTYPE_UINT32: [0, 1, 2**32 - 1, 2**31],
    FieldDescriptor.CPPTYPE_UINT64: [0, 2**64 - 1, 2**63],
    FieldDescriptor.CPPTYPE_FLOAT: [float("nan"), float("inf"), -float("inf"), -1.0, 1e-45, -0.0, 3e38],
    FieldDescriptor.CPPTYPE_DOUBLE: [float("nan"), float("inf"), -float("inf"), -1.0, 5e-324, 1e308],
    FieldDescriptor.CPPTYPE_BOOL: [True, False],
    FieldDescriptor.CPPTYPE_ENUM: [0, -1, 99, 2**31 - 1],
}
STRINGS = [
    "",
    "\0",
    "a\0b",
    "\u202egnirts a\u202c",
    "\ud7ff\ue000\U0010ffff",
    "../../etc/passwd",
    "x" * 1_048_576,
    "é" * 70_000,
    "\r\ninjected: line",
    "%s%n{}$(id)",
    " ",
]
BYTES = [b"", b"\0", b"\xff\xfe\xed\xa0\x80", b"\xff" * 1_000_003]


def methods() -> list[MethodDescriptor]:
    files = (api.DESCRIPTOR, model_api.DESCRIPTOR, tensor_api.DESCRIPTOR, oip.DESCRIPTOR)
    found = [m for file in files for service in file.services_by_name.values() for m in service.methods]
    return [method for method in found if not method.client_streaming]


def valid(method: MethodDescriptor) -> Message:
    kind: type[Message] = GetMessageClass(method.input_type)
    message = kind()
    if (known := VALID.get(method.input_type.name)) is not None:
        message.CopyFrom(known)
    return message


def hostile_versions(message: Message, depth: int = 0) -> Iterator[tuple[str, Message]]:
    """The message with one field of it, or of a message in it, set to one hostile value."""
    fields: Sequence[Any] = message.DESCRIPTOR.fields
    for field in fields:
        for value in values_of(field):
            changed = type(message)()
            changed.CopyFrom(message)
            if is_repeated(field):
                getattr(changed, field.name).append(value)
            else:
                setattr(changed, field.name, value)
            yield field.name, changed
        if field.message_type is None or depth > 3 or field.message_type.GetOptions().map_entry:
            continue
        if is_repeated(field):
            many = type(message)()
            many.CopyFrom(message)
            for _ in range(5000):
                getattr(many, field.name).add()
            yield field.name, many
        part = next(iter(getattr(message, field.name)), None) if is_repeated(field) else getattr(message, field.name)
        for name, inner in hostile_versions(part or GetMessageClass(field.message_type)(), depth + 1):
            changed = type(message)()
            changed.CopyFrom(message)
            if is_repeated(field):
                changed.ClearField(field.name)
                getattr(changed, field.name).append(inner)
            else:
                getattr(changed, field.name).CopyFrom(inner)
            yield f"{field.name}.{name}", changed


def is_repeated(field: FieldDescriptor) -> bool:
    return bool(field.is_repeated)


def values_of(field: FieldDescriptor) -> Sequence[Any]:
    if field.message_type is not None:
        return []
    if field.type == FieldDescriptor.TYPE_STRING:
        return STRINGS
    if field.type == FieldDescriptor.TYPE_BYTES:
        return BYTES
    return NUMBERS[field.cpp_type]


class Caller:
    """Sends bytes, and checks that every answer is an honest one."""

    def __init__(self, server: RunningServer) -> None:
        self.channel: Any = grpc.insecure_channel(server.address, options=[("grpc.max_send_message_length", -1)])
        self.asked = 0

    def __enter__(self) -> "Caller":
        return self

    def __exit__(self, *_: object) -> None:
        self.channel.close()

    def send(self, method: MethodDescriptor, data: bytes, **options: Any) -> str:
        path = f"/{method.containing_service.full_name}/{method.name}"
        self.asked += 1
        try:
            self.channel.unary_unary(path)(data, timeout=20, **options)
        except grpc.RpcError as error:
            code, details = error.code().name, error.details() or ""
            assert code in HONEST, (path, code, details, data[:200])
            assert not any(word in details for word in INTERNALS), (path, details)
            assert len(details) < 2000, (path, len(details))
            return code
        return "OK"


@pytest.fixture
def caller(hostile: RunningServer) -> Iterator[Caller]:
    with Caller(hostile) as made:
        yield made
        embed = api.DESCRIPTOR.services_by_name["LanguageService"].methods_by_name["Embed"]
        assert made.send(embed, VALID["EmbedRequest"].SerializeToString()) == "OK"


def by_name(method: MethodDescriptor) -> str:
    return f"{method.containing_service.name}.{method.name}"


@pytest.mark.parametrize("method", methods(), ids=by_name)
def test_every_field_with_every_hostile_value(caller: Caller, method: MethodDescriptor) -> None:
    message = valid(method)
    code = caller.send(method, message.SerializeToString())
    assert code == "OK" or method.input_type.name not in VALID
    for _, changed in hostile_versions(message):
        caller.send(method, changed.SerializeToString())
    plain = [field for field in message.DESCRIPTOR.fields if field.message_type is None]
    assert caller.asked > len(plain)


@pytest.mark.parametrize("method", methods(), ids=by_name)
def test_bytes_that_are_no_message(caller: Caller, method: MethodDescriptor) -> None:
    for data in (b"\xff", b"\x0a\xff\xff\xff\xff\x0f", b"\x0b" * 200, b"\x0a\x02\xc3\x28"):
        code = caller.send(method, data)
        parsed = True
        try:
            GetMessageClass(method.input_type).FromString(data)
        except Exception:
            parsed = False
        assert parsed or code == "INVALID_ARGUMENT"


@pytest.mark.parametrize("method", methods(), ids=by_name)
def test_messages_with_random_damage(caller: Caller, method: MethodDescriptor) -> None:
    dice = random.Random(method.full_name)
    whole = valid(method).SerializeToString() or b"\x0a\x01x"
    for _ in range(25):
        data = bytearray(whole)
        for _ in range(dice.randint(1, 4)):
            place = dice.randrange(len(data))
            data[place : place + dice.randint(0, 2)] = dice.randbytes(dice.randint(0, 3))
            data = data or bytearray(b"\0")
        caller.send(method, bytes(data))


@pytest.mark.parametrize(
    ("key", "value", "code"),
    [
        ("x-request-id", "fine-1", "OK"),
        ("x-request-id", "x" * 128, "OK"),
        ("x-request-id", "x" * 129, "INVALID_ARGUMENT"),
        ("x-request-id", "", "INVALID_ARGUMENT"),
        ("x-request-id", "two words", "INVALID_ARGUMENT"),
        ("loquor-priority", "1", "OK"),
        ("loquor-priority", "9", "OK"),
        ("loquor-priority", "0", "INVALID_ARGUMENT"),
        ("loquor-priority", "10", "INVALID_ARGUMENT"),
        ("loquor-priority", "-1", "INVALID_ARGUMENT"),
        ("loquor-priority", "1e1", "INVALID_ARGUMENT"),
        ("loquor-priority", "", "INVALID_ARGUMENT"),
        ("x-anything-bin", b"\xff\x00", "OK"),
    ],
)
def test_metadata(caller: Caller, key: str, value: str | bytes, code: str) -> None:
    embed = api.DESCRIPTOR.services_by_name["LanguageService"].methods_by_name["Embed"]
    assert caller.send(embed, VALID["EmbedRequest"].SerializeToString(), metadata=[(key, value)]) == code


@pytest.mark.parametrize("name", ["Embed", "Tokenize", "Classify", "TagTokens"])
def test_texts_beyond_all_bounds(caller: Caller, name: str) -> None:
    method = api.DESCRIPTOR.services_by_name["LanguageService"].methods_by_name[name]
    model = {"Classify": "sentiment", "TagTokens": "tagger"}.get(name, "embedder")
    kind = GetMessageClass(method.input_type)

    def ask(text: str, count: int = 1) -> str:
        if name == "Classify":
            request = kind(model=model, inputs=[api.ClassifyInput(text=text)] * count)
        else:
            request = kind(model=model, texts=[text] * count)
        return caller.send(method, request.SerializeToString())

    assert ask("good") == "OK"
    assert ask("x" * 1_048_577) == "INVALID_ARGUMENT"
    assert ask("", 1025) == "INVALID_ARGUMENT"
    assert ask("good " * 200_000) == ("OK" if name == "Tokenize" else "INVALID_ARGUMENT")
    assert ask("good " * 200_000, 2) == "INVALID_ARGUMENT"


def test_unknown_fields_are_let_pass(caller: Caller) -> None:
    embed = api.DESCRIPTOR.services_by_name["LanguageService"].methods_by_name["Embed"]
    data = VALID["EmbedRequest"].SerializeToString() + b"\xfa\x3f\x05hello"
    assert len(UnknownFieldSet(api.EmbedRequest.FromString(data))) == 1
    assert caller.send(embed, data) == "OK"


def test_a_message_beyond_the_limit(caller: Caller) -> None:
    embed = api.DESCRIPTOR.services_by_name["LanguageService"].methods_by_name["Embed"]
    assert caller.send(embed, bytes(65 * 1024 * 1024)) == "RESOURCE_EXHAUSTED"
