"""One worker process: `python -m loquor_worker`, started by the server. Composes link, engine and loop."""

import signal
import sys
from collections.abc import Callable

from loquor.internal import logs, process, settings
from loquor_worker.config import WorkerConfig
from loquor_worker.engines import DeviceFailed, LoadError
from loquor_worker.inbox import Inbox, Stop
from loquor_worker.link import Link
from loquor_worker.loading import Loaded, load
from loquor_worker.worker import Progress, Worker

EXIT_LOAD_FAILED, EXIT_DEVICE_FAILED = 3, 4

# The server may still be reading its own modules when a worker has already failed.
_FRONT_PATIENCE_SECONDS = 10.0

Loader = Callable[[WorkerConfig], Loaded]


def main() -> int:
    """Serve a model until SIGTERM."""
    return serve(load)


def serve(load: Loader) -> int:
    """Serve what `load` gives, as the command line says, until SIGTERM.

    The exit status is 0, 3 if the model cannot be loaded, 4 if the device is beyond use.
    """
    config = settings.load_flags(WorkerConfig, sys.argv[1:], program="python -m loquor_worker", description=__doc__)
    process.guard(dies_with_parent=config.dies_with_parent)
    process.keep_memory_private()
    logs.configure(config.log_format, config.log_level)
    inbox, progress = Inbox(), Progress()
    signal.signal(signal.SIGTERM, lambda *_: inbox.put(Stop()))
    link = Link(config.address, config.epoch, inbox, progress, config.heartbeat_seconds)
    link.open()
    try:
        loaded = load(config)
    except LoadError as error:
        link.fail(str(error), _FRONT_PATIENCE_SECONDS)
        link.close(2.0)
        return EXIT_LOAD_FAILED
    link.ready(loaded.hello, loaded.room)
    try:
        Worker(loaded.work, inbox, link, progress).run()
    except DeviceFailed:
        return EXIT_DEVICE_FAILED
    link.close(2.0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
