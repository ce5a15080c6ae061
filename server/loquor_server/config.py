"""The settings of the server: flags of `loquor serve`, `LOQUOR_…` variables and the keys of `loquor.toml`."""

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from loquor.internal.settings import SettingsError, setting


@dataclass(frozen=True)
class ServerConfig:
    """Frozen and complete; `[models.NAME]` tables of `loquor.toml` are beside it."""

    address: str = setting(
        "127.0.0.1:8001", "host:port or unix:PATH on which gRPC is served; loopback unless told otherwise"
    )
    metrics_address: str = setting("127.0.0.1:8002", "host:port of the Prometheus page /metrics; empty: none")
    repository: Path = setting(Path("models"), "folder of the models, each NAME/VERSION/")
    models: tuple[str, ...] = setting(
        (), "models to load, as NAME or NAME:VERSION, by commas; empty: all in the repository"
    )
    fronts: int = setting(
        1,
        "front processes on the port; more of them serve more calls/s, each taking about 100 MB",
        minimum=1,
        maximum=64,
    )
    device: str = setting("auto", "device of the workers: auto, cpu, cuda or cuda:N; auto takes CUDA if there is one")
    dtype: str = setting(
        "auto",
        "type of weights and arithmetic; auto: bfloat16 on CUDA, float32 on the CPU",
        choices=("auto", "float32", "bfloat16", "float16"),
    )
    threads: int = setting(
        0, "threads of each worker on the CPU; 0: an equal share of the cores", minimum=0, maximum=1024
    )
    replicas: int = setting(1, "workers for each model; each holds a copy of the weights", minimum=1, maximum=256)
    tokenizer_threads: int = setting(2, "threads that tokenize, shared by all models", minimum=1, maximum=256)
    default_deadline_seconds: float = setting(
        60.0, "deadline of a call that sets none; its place in the queue is held until then", minimum=0.001
    )
    max_message_bytes: int = setting(
        64 * 1024 * 1024, "largest message, decompressed; bounds the memory that one call can take", minimum=1024
    )
    max_concurrent_streams: int = setting(1024, "calls under way on one connection; more wait", minimum=1)
    max_connections: int = setting(10_000, "open connections; further ones are refused", minimum=1)
    connection_age_seconds: float = setting(
        1800.0,
        "a connection is asked to reconnect after about so long, which spreads clients over new servers",
        minimum=1,
    )
    drain_delay_seconds: float = setting(
        0.0, "after SIGTERM, serve on for so long while health says NOT_SERVING, so that balancers notice", minimum=0
    )
    drain_seconds: float = setting(30.0, "after that, wait so long for calls under way before they are cut", minimum=0)
    tls_certificate: str = setting("", "PEM file of the server's certificate chain; with it, only TLS is served")
    tls_key: str = setting("", "PEM file of its private key")
    tls_client_ca: str = setting("", "PEM file of the authority that clients must have a certificate of (mutual TLS)")
    model_control: str = setting(
        "auto",
        "whether LoadModel and UnloadModel are allowed; auto: on a loopback address only",
        choices=("auto", "on", "off"),
    )
    reflection: bool = setting(True, "serve gRPC reflection, by which tools find the methods")
    silence_seconds: float = setting(
        10.0,
        "a worker that sends nothing for so long is killed and started again (it sends twice a second)",
        minimum=0.5,
    )
    log_format: str = setting("human", "form of the log on stderr", choices=("human", "json"))
    log_level: str = setting("info", "least level that is logged", choices=("debug", "info", "warning", "error"))

    @property
    def allows_model_control(self) -> bool:
        if self.model_control == "auto":
            return is_loopback(self.address)
        return self.model_control == "on"


def is_loopback(address: str) -> bool:
    if address.startswith("unix:"):
        return True
    host = split_address(address, "address")[0]
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def split_address(address: str, name: str) -> tuple[str, int]:
    """Host and port of `host:port` or `[host]:port`. Raises `SettingsError` with the setting's name."""
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65535:
        raise SettingsError(f"{name}: {address!r} is not host:port")
    return host.strip("[]"), int(port)
