"""`loquor serve`: reads the settings, starts the first workers, then the server.

The order matters: the workers' start is the longest, so they are on their way before the server's own modules are read.
"""

import os
import signal
import sys
from collections.abc import Sequence

from loquor.internal import settings
from loquor_server.config import ServerConfig, split_address

_DESCRIPTION = "Serve language models over gRPC. The first line on stdout says when everything is ready, and where."
_EPILOG = """\
Every flag is also an environment variable and a key of loquor.toml: --drain-seconds is LOQUOR_DRAIN_SECONDS and
drain_seconds. A flag wins over the environment, and the environment over the file. The file may also hold a table
for each model, such as [models.minilm] with replicas = 2 (see docs/models.md for its keys).

examples:
  loquor serve --repository models --models minilm,rampart
  loquor serve --models minilm:3 --replicas 2 --threads 4 --address 0.0.0.0:8001

signals:
  SIGTERM, SIGINT   drain: refuse new calls, finish those under way, end the workers; again: leave at once
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until a signal. The exit status is 0, 1 if the server cannot start, 2 for wrong settings."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        config, tables = settings.load(
            ServerConfig,
            arguments,
            os.environ,
            program="loquor serve",
            description=_DESCRIPTION,
            epilog=_EPILOG,
            tables=("models",),
        )
        _check(config)
    except settings.SettingsError as error:
        return _refuse(str(error), 2)
    return _start(config, tables["models"], arguments)


def _start(config: ServerConfig, tables: "dict[str, object]", arguments: Sequence[str]) -> int:
    from loquor_server.errors import ModelNotFound, StartFailed
    from loquor_server.launcher import Launcher
    from loquor_server.plan import Planner
    from loquor_server.repository import ModelFilesRefused
    from loquor_server.worker_process import SocketDirectory

    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # the pool's threads are the parallelism
    for number in (signal.SIGTERM, signal.SIGINT):  # until the server listens to them itself
        signal.signal(number, lambda *_: sys.exit(0))
    try:
        sockets = SocketDirectory()
    except StartFailed as error:
        return _refuse(str(error), 1)
    launcher = Launcher(sockets, log_format=config.log_format, log_level=config.log_level)
    try:
        planner = Planner(config, tables)
        plans = planner.plan_all()
        launcher.prepare(plans)

        from loquor.internal import logs
        from loquor_server import serve

        logs.configure(config.log_format, config.log_level)
        return serve.run(config, planner, plans, launcher, sockets.path, arguments)
    except settings.SettingsError as error:
        return _refuse(str(error), 2)
    except (ModelNotFound, ModelFilesRefused, StartFailed) as error:
        return _refuse(str(error), 1)
    finally:
        launcher.kill_prepared()
        sockets.close()


def _check(config: ServerConfig) -> None:
    if not config.address.startswith("unix:"):
        split_address(config.address, "address")
    if config.metrics_address:
        split_address(config.metrics_address, "metrics_address")
    if bool(config.tls_certificate) != bool(config.tls_key):
        raise settings.SettingsError("tls_certificate and tls_key: TLS takes both or neither")
    if config.tls_client_ca and not config.tls_certificate:
        raise settings.SettingsError("tls_client_ca: needs tls_certificate and tls_key")


def _refuse(reason: str, status: int) -> int:
    sys.stderr.write(f"loquor serve: {reason}\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
