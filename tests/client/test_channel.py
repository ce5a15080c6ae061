"""Addresses, keys, TLS, and round robin over several servers."""

import subprocess
from pathlib import Path
from typing import Any

import grpc
import pytest

import loquor
from loquor._channel import is_local, target


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1:8001", "ipv4:127.0.0.1:8001"),
        ("[::1]:8001", "ipv6:[::1]:8001"),
        ("10.0.0.1:8001,10.0.0.2:8001", "ipv4:10.0.0.1:8001,10.0.0.2:8001"),
        ("localhost:8001", "dns:///localhost:8001"),
        ("loquor.default.svc:8001", "dns:///loquor.default.svc:8001"),
        ("dns:///host:1", "dns:///host:1"),
        ("unix:/run/loquor.sock", "unix:/run/loquor.sock"),
    ],
)
def test_target(address: str, expected: str) -> None:
    assert target(address) == expected


@pytest.mark.parametrize("address", ["host", ":8001", "host:", "http://host:8001", "a:1,b:2", "1.2.3.4:1,b:2", ""])
def test_an_address_that_is_none_is_refused_by_name(address: str) -> None:
    with pytest.raises(ValueError, match="address: "):
        loquor.Client(address)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1:1", True),
        ("[::1]:1", True),
        ("localhost:1", True),
        ("dns:///localhost:1", True),
        ("unix:/run/x", True),
        ("unix-abstract:x", True),
        ("10.0.0.1:1", False),
        ("127.0.0.1:1,10.0.0.1:1", False),
        ("localhost.example:1", False),
        ("dns://10.0.0.1/host:1", False),
    ],
)
def test_is_local(address: str, expected: bool) -> None:
    assert is_local(target(address)) is expected


def test_a_key_never_goes_over_an_open_wire() -> None:
    with pytest.raises(ValueError, match=r"^key: is not sent without TLS to host:1") as caught:
        loquor.Client("host:1", key="secret")
    assert "secret" not in str(caught.value)
    assert loquor.Client("host:1", key="secret", tls=loquor.TLS()).state is loquor.ClientState.UNOPENED
    assert loquor.AsyncClient("localhost:1", key="secret").state is loquor.ClientState.UNOPENED


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"deadline_seconds": 0}, "deadline_seconds: "),
        ({"deadline_seconds": float("inf")}, "deadline_seconds: "),
        ({"deadline_seconds": float("nan")}, "deadline_seconds: "),
        ({"max_message_bytes": 0}, "max_message_bytes: "),
        ({"metadata": {"Upper": "a"}}, "metadata: 'Upper'"),
        ({"metadata": {"a": "é"}}, "metadata: 'a'"),
        ({"key": "line\nbreak"}, "metadata: 'authorization'"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(wrong: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        loquor.Client(**wrong)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [({"address": 3}, "address: "), ({"key": 3}, "key: "), ({"metadata": {"a": 3}}, "metadata: ")],
)
def test_a_setting_of_the_wrong_type_is_refused_by_name(wrong: dict[str, Any], sentence: str) -> None:
    with pytest.raises(TypeError, match=sentence):
        loquor.Client(**wrong)


def test_calls_go_round_the_servers(make_server: Any) -> None:
    servers = [make_server() for _ in range(3)]
    with loquor.Client(",".join(server.address for server in servers)) as client:
        for _ in range(30):
            client.wait_ready()
            client.embed("minilm", "a")
    counts = [sum(path.endswith("/Embed") for path, _ in server.calls) for server in servers]
    assert sum(counts) == 30
    assert min(counts) >= 5


def test_a_server_that_dies_costs_no_call(make_server: Any) -> None:
    servers = [make_server() for _ in range(2)]
    with loquor.Client(",".join(server.address for server in servers)) as client:
        for number in range(40):
            if number == 10:
                servers[0].stop()
            assert len(client.embed("minilm", "a")) == 1


def test_a_unix_socket(make_server: Any, tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/s"
    make_server(address)
    with loquor.Client(address, key="secret") as client:
        assert len(client.embed("minilm", "a")) == 1


def test_messages_may_be_as_large_as_asked(server: Any) -> None:
    with loquor.Client(server.address, max_message_bytes=1000, retry=None) as client:
        assert len(client.embed("minilm", "a" * 900)) == 1
        with pytest.raises(loquor.ResourceExhausted, match="larger than max"):
            client.embed("minilm", "a" * 1100)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Of a server called `loquor.test`, signed by itself, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    chain, key = folder / "chain.pem", folder / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=loquor.test"
    names = ["-addext", "subjectAltName=DNS:loquor.test", "-keyout", str(key), "-out", str(chain)]
    subprocess.run([*command.split(), *names], check=True, capture_output=True)
    return chain, key


@pytest.fixture
def tls_server(certificate: tuple[Path, Path], make_server: Any) -> Any:
    chain, key = (path.read_bytes() for path in certificate)
    # The server asks for a client's certificate, and accepts its own.
    return make_server("127.0.0.1:0", grpc.ssl_server_credentials([(key, chain)], chain, require_client_auth=True))


def test_tls_both_ways(certificate: tuple[Path, Path], tls_server: Any) -> None:
    chain, key = certificate
    tls = loquor.TLS(root_certificates=chain, certificate_chain=chain, private_key=key, server_name="loquor.test")
    with loquor.Client(tls_server.address, tls=tls, key="secret") as client:
        assert len(client.embed("minilm", "a")) == 1
    assert tls_server.calls[0][1]["authorization"] == "Bearer secret"


@pytest.mark.parametrize("lacking", ["root_certificates", "certificate_chain", "server_name"])
def test_tls_fails_closed(certificate: tuple[Path, Path], tls_server: Any, lacking: str) -> None:
    chain, key = certificate
    have: dict[str, Any] = {"root_certificates": chain, "certificate_chain": chain, "server_name": "loquor.test"}
    have["private_key"] = None if lacking == "certificate_chain" else key.read_bytes()
    have[lacking] = None
    client = loquor.Client(tls_server.address, tls=loquor.TLS(**have), retry=None)
    with client, pytest.raises(loquor.Unavailable):
        client.embed("minilm", "a")
    assert tls_server.calls == []


def test_half_a_client_certificate_is_refused() -> None:
    with pytest.raises(ValueError, match="certificate_chain and private_key go together"):
        loquor.TLS(certificate_chain=b"")


def test_a_private_key_is_not_shown() -> None:
    assert "secret" not in repr(loquor.TLS(certificate_chain=b"", private_key=b"secret"))
