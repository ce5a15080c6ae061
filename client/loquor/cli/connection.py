"""The flags that say where the server is and how to talk to it, each an environment variable too."""

import argparse
import os
from pathlib import Path
from typing import Any

import loquor
from loquor.cli.failure import Failure
from loquor.cli.status import USAGE

_FLAGS = (
    ("--address", "HOST:PORT", "the server: host:port, ip:port,ip:port, unix:PATH or dns:///host:port"),
    ("--deadline-seconds", "SECONDS", "give a call up after so many seconds, all its tries together"),
    ("--key-file", "FILE", "file with the key to send; or the key itself in LOQUOR_KEY"),
    ("--tls-ca", "FILE", "PEM file of the authorities to trust; turns TLS on"),
    ("--tls-client-certificate", "FILE", "PEM file of our own certificate, for a server that asks"),
    ("--tls-client-key", "FILE", "PEM file of its private key"),
    ("--tls-server-name", "NAME", "name to expect in the server's certificate, if not the address's; turns TLS on"),
)


def flags(deadline_seconds: int = 30) -> argparse.ArgumentParser:
    """A parent parser for every command that calls the server."""
    defaults = {"--address": "127.0.0.1:8001", "--deadline-seconds": str(deadline_seconds)}
    parser = argparse.ArgumentParser(add_help=False)
    group = parser.add_argument_group("connection (each flag is also a variable: --tls-ca is LOQUOR_TLS_CA)")
    for flag, metavar, text in _FLAGS:
        default = defaults.get(flag)
        shown = f"{text} (default: {default})" if default else text
        group.add_argument(flag, metavar=metavar, default=os.environ.get(_variable(flag), default), help=shown)
    group.add_argument(
        "--tls",
        action="store_true",
        default=os.environ.get("LOQUOR_TLS", "") in ("1", "true", "yes"),
        help="use TLS, and trust the authorities that gRPC ships with",
    )
    return parser


def settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """What either client takes, from the flags. Raises `Failure`."""
    return {
        "address": arguments.address,
        "deadline_seconds": deadline_seconds(arguments),
        "tls": _tls(arguments),
        "key": _key(arguments),
    }


def connect(arguments: argparse.Namespace) -> loquor.Client:
    """The client that the flags describe. Raises `Failure` where they describe none."""
    try:
        return loquor.Client(**settings(arguments))
    except ValueError as error:
        raise Failure(str(error), USAGE) from None


def deadline_seconds(arguments: argparse.Namespace) -> float:
    try:
        return float(arguments.deadline_seconds)
    except ValueError:
        raise Failure(f"--deadline-seconds: {arguments.deadline_seconds!r} is not a number", USAGE) from None


def _tls(arguments: argparse.Namespace) -> loquor.TLS | None:
    files = (arguments.tls_ca, arguments.tls_client_certificate, arguments.tls_client_key)
    if not (arguments.tls or any(files) or arguments.tls_server_name):
        return None
    # Read now, so that a file that is not there is named before anything else happens.
    ca, certificate, key = (Path(name).read_bytes() if name else None for name in files)
    return loquor.TLS(
        root_certificates=ca,
        certificate_chain=certificate,
        private_key=key,
        server_name=arguments.tls_server_name,
    )


def _key(arguments: argparse.Namespace) -> str | None:
    if arguments.key_file:
        return Path(arguments.key_file).read_text(encoding="utf-8").strip()
    return os.environ.get("LOQUOR_KEY") or None


def _variable(flag: str) -> str:
    return "LOQUOR_" + flag.removeprefix("--").replace("-", "_").upper()
