"""A caller without our code finds every method by reflection, and calls one with what it found."""

from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from tests.conftest import RunningServer

SERVICES = {
    "loquor.v1.LanguageService": 8,
    "loquor.v1.TensorService": 1,
    "loquor.v1.ModelService": 4,
    "inference.GRPCInferenceService": 20,
    "grpc.health.v1.Health": 2,
}


class Reflection:
    """The server's own description, as messages of a pool that knows nothing else."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
        self.pool = descriptor_pool.DescriptorPool()

    def ask(self, **request: str) -> Any:
        return next(self._stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(**request)])))

    def services(self) -> set[str]:
        return {service.name for service in self.ask(list_services="").list_services_response.service}

    def find(self, name: str) -> Any:
        response = self.ask(file_containing_symbol=name).file_descriptor_response
        self._add([descriptor_pb2.FileDescriptorProto.FromString(data) for data in response.file_descriptor_proto])
        return self.pool.FindServiceByName(name)

    def _add(self, files: list[descriptor_pb2.FileDescriptorProto]) -> None:
        for file in files:
            for dependency in file.dependency:
                response = self.ask(file_by_filename=dependency).file_descriptor_response
                self._add([descriptor_pb2.FileDescriptorProto.FromString(d) for d in response.file_descriptor_proto])
            self.pool.Add(file)


def test_every_service_is_described_in_full(server: RunningServer) -> None:
    with grpc.insecure_channel(server.address) as channel:
        reflection = Reflection(channel)
        assert set(SERVICES) <= reflection.services()
        for name, methods in SERVICES.items():
            assert len(reflection.find(name).methods) == methods


def test_what_is_described_can_be_called(server: RunningServer) -> None:
    with grpc.insecure_channel(server.address) as channel:
        reflection = Reflection(channel)
        method = reflection.find("loquor.v1.LanguageService").methods_by_name["Embed"]
        asked = message_factory.GetMessageClass(method.input_type)(model="minilm", texts=["a text"])
        answered = message_factory.GetMessageClass(method.output_type)
        call = channel.unary_unary(
            "/loquor.v1.LanguageService/Embed", type(asked).SerializeToString, answered.FromString
        )
        response: Any = call(asked, timeout=30)
        assert len(response.embeddings[0].values) == 384


def test_it_can_be_turned_off(serve_fake: Callable[..., RunningServer]) -> None:
    server = serve_fake("--reflection", "false")
    with grpc.insecure_channel(server.address) as channel, pytest.raises(grpc.RpcError) as refusal:
        Reflection(channel).services()
    assert refusal.value.code() is grpc.StatusCode.UNIMPLEMENTED
