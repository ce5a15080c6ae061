"""How the server listens: in the clear or with TLS, and never the one in place of the other."""

from pathlib import Path

import grpc
from grpc import aio

from loquor_server.config import ServerConfig
from loquor_server.errors import StartFailed


def add_port(server: aio.Server, config: ServerConfig) -> str:
    """Bind the server's address and return it, with the port that was given for port 0. Raises `StartFailed`."""
    try:
        port = _add_port(server, config)
    except RuntimeError:
        reason = "it is taken, not ours, or the TLS files do not fit together"
        raise StartFailed(f"address: cannot listen on {config.address}: {reason}") from None
    return config.address if config.address.startswith("unix:") else f"{config.address.rpartition(':')[0]}:{port}"


def _add_port(server: aio.Server, config: ServerConfig) -> int:
    if not config.tls_certificate:
        return server.add_insecure_port(config.address)
    _read_files(config)
    return server.add_secure_port(config.address, _credentials(config))


def _credentials(config: ServerConfig) -> grpc.ServerCredentials:
    """Files are read again when they change, so a new certificate needs no restart."""
    seen: list[tuple[bytes, ...]] = [_read_files(config)]

    def configuration() -> grpc.ServerCertificateConfiguration:
        certificate, key, *client_ca = seen[0]
        return grpc.ssl_server_certificate_configuration([(key, certificate)], client_ca[0] if client_ca else None)

    def changed() -> grpc.ServerCertificateConfiguration | None:
        try:
            files = _read_files(config)
        except StartFailed:
            return None
        if files == seen[0]:
            return None
        seen[0] = files
        return configuration()

    # None, which the stubs do not know, keeps what there is.
    return grpc.dynamic_ssl_server_credentials(configuration(), changed, bool(config.tls_client_ca))  # type: ignore[arg-type]


def _read_files(config: ServerConfig) -> tuple[bytes, ...]:
    """Certificate, key and, if there is one, the authority of clients."""
    names = ("tls_certificate", "tls_key", "tls_client_ca")
    return tuple(_read(name, path) for name in names if (path := getattr(config, name)))


def _read(name: str, path: str) -> bytes:
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise StartFailed(f"{name}: {path}: {error.strerror}") from None
    if b"-----BEGIN" not in content:
        raise StartFailed(f"{name}: {path}: is not a PEM file")
    return content
