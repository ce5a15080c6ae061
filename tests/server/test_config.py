"""The server's settings: addresses, and where models may be controlled."""

import pytest

from loquor.internal.settings import SettingsError
from loquor_server.config import ServerConfig, is_loopback, split_address


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [("127.0.0.1:8001", "127.0.0.1", 8001), ("[::1]:0", "::1", 0), ("localhost:65535", "localhost", 65535)],
)
def test_an_address_is_a_host_and_a_port(address: str, host: str, port: int) -> None:
    assert split_address(address, "address") == (host, port)


@pytest.mark.parametrize("address", ["", "8001", ":8001", "host:", "host:65536", "host:-1", "host:²", "host:1e3"])
def test_anything_else_is_refused_with_the_settings_name(address: str) -> None:
    with pytest.raises(SettingsError, match="metrics_address"):
        split_address(address, "metrics_address")


@pytest.mark.parametrize(
    ("address", "loopback"),
    [
        ("127.0.0.1:1", True),
        ("127.8.8.8:1", True),
        ("[::1]:1", True),
        ("localhost:1", True),
        ("unix:/run/loquor.sock", True),
        ("0.0.0.0:1", False),
        ("[::]:1", False),
        ("10.0.0.1:1", False),
        ("localhost.example.org:1", False),
    ],
)
def test_models_are_controlled_from_this_machine_alone_unless_told_otherwise(address: str, loopback: bool) -> None:
    assert is_loopback(address) is loopback
    assert ServerConfig(address=address).allows_model_control is loopback
    assert ServerConfig(address=address, model_control="on").allows_model_control
    assert not ServerConfig(address=address, model_control="off").allows_model_control
