"""The least that a `grpc.aio` server can do: answer every call with the same bytes. `echo_server.py ANSWER_BYTES`."""

import asyncio
import sys

import grpc
import uvloop

SERVICE, METHOD = "benchmarks.Echo", "Echo"


async def serve(answer: bytes) -> None:
    async def echo(_request: bytes, _context: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes:
        return answer

    server = grpc.aio.server()
    handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {METHOD: grpc.unary_unary_rpc_method_handler(echo)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"echo on 127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


def main() -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(bytes(int(sys.argv[1]))))


if __name__ == "__main__":
    main()
