"""No text of a caller is in any output of the server or its workers, at the most talkative level, whatever fails."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from loquor.v1 import language_service_pb2 as api
from loquor_server.inference import open_inference_pb2 as oip
from tests.conftest import RunningServer
from tests.end_to_end.conftest import start_fake
from tests.end_to_end.test_bad_input import methods

CANARY = "canary7f3a"


@pytest.fixture(params=["human", "json"])
def talkative(fake_repository: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[RunningServer]:
    running = start_fake(fake_repository, tmp_path / "log", "--log-level", "debug", "--log-format", request.param)
    yield running
    running.stop()


def filled(kind: type[Message], depth: int = 0) -> Message:
    """A message with the canary in every text of it."""
    message: Any = kind()
    for field in message.DESCRIPTOR.fields:
        repeated = field.is_repeated
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            continue
        if field.message_type is not None:
            inner = filled(GetMessageClass(field.message_type), depth + 1) if depth < 4 else None
            if inner is not None and repeated:
                getattr(message, field.name).append(inner)
            elif inner is not None:
                getattr(message, field.name).CopyFrom(inner)
        elif field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
            value = CANARY if field.type == FieldDescriptor.TYPE_STRING else CANARY.encode()
            if repeated:
                getattr(message, field.name).append(value)
            else:
                setattr(message, field.name, value)
    made: Message = message
    return made


def send(channel: Any, path: str, data: bytes) -> str:
    try:
        channel.unary_unary(path)(data, timeout=30)
    except grpc.RpcError as error:
        return str(error.code().name)
    return "OK"


def test_no_text_of_a_caller_is_in_any_output(talkative: RunningServer) -> None:
    embed = "/loquor.v1.LanguageService/Embed"
    texts = [CANARY, f"{CANARY} fail", f"{CANARY} large", f"{CANARY} " * 300, f"{CANARY} poison"]
    codes = []
    with grpc.insecure_channel(talkative.address) as channel:
        for method in methods():
            message: Any = filled(GetMessageClass(method.input_type))
            path = f"/{method.containing_service.full_name}/{method.name}"
            codes.append(send(channel, path, message.SerializeToString()))
            for field in ("model", "name", "model_name"):
                if field in message.DESCRIPTOR.fields_by_name and "Unload" not in method.name:
                    setattr(message, field, "fake")
                    for version in {"version", "model_version"} & set(message.DESCRIPTOR.fields_by_name):
                        message.ClearField(version)
            codes.append(send(channel, path, message.SerializeToString()))
            codes.append(send(channel, path, CANARY.encode()))
        requests = [api.EmbedRequest(model="fake", texts=[text]) for text in texts]
        codes += [send(channel, embed, request.SerializeToString()) for request in requests]
        codes += streams(channel)
    assert {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "INTERNAL", "ABORTED"} <= set(codes)
    assert talkative.stop() == 0
    log = talkative.log.read_text()
    assert "call failed" in log
    assert "call ended" in log
    assert "engine failed" in log
    assert "worker lost" in log
    assert CANARY not in log


def streams(channel: Any) -> Iterator[str]:
    """Requests on both streams that fail each in its own way."""
    embed = channel.stream_stream("/loquor.v1.LanguageService/EmbedStream")
    bad = api.EmbedStreamRequest(id=CANARY, request=api.EmbedRequest(model=CANARY, texts=[CANARY]))
    good = api.EmbedStreamRequest(id=CANARY, request=api.EmbedRequest(model="fake", texts=[CANARY]))
    infer = channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")
    unknown = oip.ModelInferRequest(model_name=CANARY, id=CANARY)
    for stub, messages in (
        (embed, [bad.SerializeToString()]),
        (embed, [good.SerializeToString()]),
        (embed, [good.SerializeToString(), good.SerializeToString()]),
        (embed, [CANARY.encode()]),
        (infer, [unknown.SerializeToString(), CANARY.encode()]),
    ):
        try:
            list(stub(iter(messages), timeout=30))
        except grpc.RpcError as error:
            yield str(error.code().name)
        else:
            yield "OK"
