"""Call Loquor without any code of its own: messages and methods are made on the spot, by server reflection.

What it needs is `pip install grpcio grpcio-reflection`. It expects a server that serves `minilm` and `smollm2`:
loquor models pull minilm smollm2 && loquor serve --models minilm,smollm2
"""

import sys
from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase


def main(address: str) -> None:
    with grpc.insecure_channel(address) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        print("services:", *sorted(database.get_services()), sep="\n  ")

        service = DescriptorPool(database).FindServiceByName("loquor.v1.LanguageService")
        embed, generate = service.methods_by_name["Embed"], service.methods_by_name["Generate"]
        request = GetMessageClass(embed.input_type)(model="minilm", texts=["The cat sat on the mat.", "Olá, mundo!"])
        response = callable_of(channel, embed)(request, timeout=30)
        for embedding in response.embeddings:
            print(f"{len(embedding.values)} values from {embedding.tokens} tokens: {list(embedding.values[:3])} ...")

        request = GetMessageClass(generate.input_type)(
            model="smollm2", input={"prompt": "Once upon a time"}, sampling={"max_tokens": 20}
        )
        for response in callable_of(channel, generate)(request, timeout=120):
            print(response.delta.text, end="", flush=True)
        print()


def callable_of(channel: grpc.Channel, method: MethodDescriptor) -> Callable[..., Any]:
    """The method of a service, ready to be called."""
    of_kind = channel.unary_stream if method.server_streaming else channel.unary_unary
    return of_kind(
        f"/{method.containing_service.full_name}/{method.name}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:8001")
