"""What a channel is made of: where the server is, how to trust it, and gRPC's options. Opens nothing."""

import ipaddress
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from loquor._retry import Retry, service_config

_SCHEMES = ("dns:", "ipv4:", "ipv6:", "unix:", "unix-abstract:", "xds:")
_METADATA_KEY = re.compile(r"[a-z0-9_.-]+")
_METADATA_VALUE = re.compile(r"[\x20-\x7e]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class TLS:
    """How to trust the server, and how to be trusted by it. Each is PEM: bytes, or the path of a file.

    Without `root_certificates`, those that gRPC ships with. `certificate_chain` and `private_key` go together, for a
    server that asks for a client's certificate. `server_name` is the name to expect in the server's certificate, where
    it is not the one in the address.
    """

    root_certificates: bytes | str | Path | None = None
    certificate_chain: bytes | str | Path | None = None
    private_key: bytes | str | Path | None = field(default=None, repr=False)
    server_name: str | None = None

    def __post_init__(self) -> None:
        if (self.certificate_chain is None) != (self.private_key is None):
            raise ValueError("tls: certificate_chain and private_key go together")

    def credentials(self) -> grpc.ChannelCredentials:
        """Reads the files."""
        return grpc.ssl_channel_credentials(
            _pem(self.root_certificates), _pem(self.private_key), _pem(self.certificate_chain)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelSettings:
    """One client's settings, checked. Raises `ValueError` with the name of the one that is wrong."""

    address: str
    deadline_seconds: float
    tls: TLS | None
    key: str | None = field(repr=False)
    retry: Retry | None
    metadata: Mapping[str, str]
    max_message_bytes: int

    def __post_init__(self) -> None:
        for name in ("address", "key"):
            if not isinstance(getattr(self, name), str | None):
                raise TypeError(f"{name}: takes a str, not {type(getattr(self, name)).__name__}")
        check_deadline(self.deadline_seconds)
        if self.max_message_bytes < 1:
            raise ValueError(f"max_message_bytes: takes at least 1, not {self.max_message_bytes}")
        is_private = is_local(self.target)
        if self.key is not None and self.tls is None and not is_private:
            raise ValueError(f"key: is not sent without TLS to {self.address}, only to a loopback or Unix address")
        for name, value in self.call_metadata:
            if not isinstance(name, str) or not isinstance(value, str):
                raise TypeError("metadata: takes pairs of str")
            if not _METADATA_KEY.fullmatch(name) or not _METADATA_VALUE.fullmatch(value):
                raise ValueError(f"metadata: {name!r} takes a lower-case name and a value of printable ASCII")

    @property
    def target(self) -> str:
        return target(self.address)

    @property
    def call_metadata(self) -> tuple[tuple[str, str], ...]:
        """What every call carries."""
        key = () if self.key is None else (("authorization", f"Bearer {self.key}"),)
        return (*self.metadata.items(), *key)

    @property
    def options(self) -> list[tuple[str, str | int]]:
        """gRPC's channel arguments."""
        options: list[tuple[str, str | int]] = [
            ("grpc.service_config", service_config(self.retry)),
            ("grpc.service_config_disable_resolution", 1),
            ("grpc.max_send_message_length", self.max_message_bytes),
            ("grpc.max_receive_message_length", self.max_message_bytes),
            # A request larger than this is not tried again; gRPC's own 256 KiB would leave out large batches.
            ("grpc.per_rpc_retry_buffer_size", self.max_message_bytes),
            # A dead connection is noticed after 30 + 10 s; ping_timeout is what gRPC waits for, its default a minute.
            ("grpc.keepalive_time_ms", 30_000),
            ("grpc.keepalive_timeout_ms", 10_000),
            ("grpc.http2.ping_timeout_ms", 10_000),
            # A server that restarts is found again soon; the default waits a second, then up to two minutes.
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 5_000),
            ("grpc.primary_user_agent", "loquor-python"),
        ]
        if is_local(self.target):
            options.append(("grpc.enable_http_proxy", 0))
        if self.tls and self.tls.server_name:
            options.append(("grpc.ssl_target_name_override", self.tls.server_name))
        return options


def check_deadline(seconds: float) -> None:
    """Raises `ValueError` unless it is a time from now on."""
    if not isinstance(seconds, int | float) or not 0 < seconds < math.inf:
        raise ValueError(f"deadline_seconds: takes a finite number greater than 0, not {seconds!r}")


def target(address: str) -> str:
    """gRPC's name for an address: `host:port`, `ip:port[,ip:port...]`, `unix:path`, or one with a scheme already."""
    if address.startswith(_SCHEMES):
        return address
    hosts = [_host(part) for part in address.split(",")]
    families = {_family(host) for host in hosts}
    if families in ({"ipv4"}, {"ipv6"}):
        return f"{families.pop()}:{address}"
    if len(hosts) > 1:
        raise ValueError(f"address: {address!r} takes several servers as IP addresses of one family, or one DNS name")
    return f"dns:///{address}"


def is_local(target: str) -> bool:
    """True where nobody else can listen: a Unix socket or loopback."""
    scheme, _, rest = target.partition(":")
    if scheme.startswith("unix"):
        return True
    return all(_is_loopback(_host(part)) for part in rest.rpartition("/")[2].split(","))


def _host(address: str) -> str:
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdecimal() or "/" in host:
        raise ValueError(f"address: {address!r} takes host:port, unix:path, or a gRPC name such as dns:///host:port")
    return host.removeprefix("[").removesuffix("]")


def _family(host: str) -> str:
    try:
        return f"ipv{ipaddress.ip_address(host).version}"
    except ValueError:
        return "dns"


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (_family(host) != "dns" and ipaddress.ip_address(host).is_loopback)


def _pem(value: bytes | str | Path | None) -> bytes | None:
    return Path(value).read_bytes() if isinstance(value, str | Path) else value
