"""TLS: one listens with it or in the clear as told, asks clients for certificates if told, and takes a renewed one."""

import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest

from loquor_server.config import ServerConfig
from loquor_server.credentials import add_port
from loquor_server.errors import StartFailed

NAME = "loquor.test"


def certificate(folder: Path, name: str) -> tuple[str, str]:
    """Paths of a new self-signed certificate and its key."""
    chain, key = folder / f"{name}.pem", folder / f"{name}.key"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1"
    subject = ["-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}"]
    subprocess.run(
        [*command.split(), *subject, "-out", str(chain), "-keyout", str(key)], check=True, capture_output=True
    )
    return str(chain), str(key)


@asynccontextmanager
async def listening(config: ServerConfig) -> AsyncIterator[str]:
    """The port of a server with one method, which answers what it was asked."""

    async def echo(request: bytes, _context: object) -> bytes:
        return request

    server = grpc.aio.server()
    method: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(echo)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test", {"Echo": method}),))
    address = add_port(server, config)
    await server.start()
    try:
        yield address
    finally:
        await server.stop(None)


async def asked(address: str, credentials: grpc.ChannelCredentials | None) -> bytes:
    options = (("grpc.ssl_target_name_override", NAME), ("grpc.use_local_subchannel_pool", 1))
    channel = (
        grpc.aio.insecure_channel(address, options)
        if credentials is None
        else grpc.aio.secure_channel(address, credentials, options)
    )
    async with channel:
        echo: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/test/Echo")
        return await echo(b"asked", timeout=5)


async def test_with_a_certificate_only_tls_is_served(tmp_path: Path) -> None:
    chain, key = certificate(tmp_path, "server")
    trusting = grpc.ssl_channel_credentials(Path(chain).read_bytes())
    async with listening(ServerConfig(address="127.0.0.1:0", tls_certificate=chain, tls_key=key)) as address:
        assert await asked(address, trusting) == b"asked"
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await asked(address, None)
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_clients_without_a_certificate_are_refused_where_one_is_asked_for(tmp_path: Path) -> None:
    chain, key = certificate(tmp_path, "server")
    client_chain, client_key = certificate(tmp_path, "client")
    config = ServerConfig(address="127.0.0.1:0", tls_certificate=chain, tls_key=key, tls_client_ca=client_chain)
    root = Path(chain).read_bytes()
    known = grpc.ssl_channel_credentials(root, Path(client_key).read_bytes(), Path(client_chain).read_bytes())
    async with listening(config) as address:
        assert await asked(address, known) == b"asked"
        with pytest.raises(grpc.aio.AioRpcError):
            await asked(address, grpc.ssl_channel_credentials(root))


async def test_a_renewed_certificate_is_used_without_a_restart(tmp_path: Path) -> None:
    chain, key = certificate(tmp_path, "server")
    old = grpc.ssl_channel_credentials(Path(chain).read_bytes())
    async with listening(ServerConfig(address="127.0.0.1:0", tls_certificate=chain, tls_key=key)) as address:
        assert await asked(address, old) == b"asked"
        certificate(tmp_path, "server")
        assert await asked(address, grpc.ssl_channel_credentials(Path(chain).read_bytes())) == b"asked"
        with pytest.raises(grpc.aio.AioRpcError):
            await asked(address, old)


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
async def test_files_that_are_none_are_refused_by_name(content: bytes | None, tmp_path: Path) -> None:
    _, key = certificate(tmp_path, "server")
    file = tmp_path / "chain.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(StartFailed, match=r"tls_certificate: .*chain\.pem"):
        add_port(grpc.aio.server(), ServerConfig(address="127.0.0.1:0", tls_certificate=str(file), tls_key=key))
