"""As `fake_serve`, and it keeps a little of every request: the negative control of the soak test."""

import sys
from typing import Any

from loquor_server import __main__ as program
from loquor_server.served_model import ServedModel
from loquor_server.worker_process import WorkerProcess

KEPT_BYTES = 400

_kept: list[bytes] = []
_run = ServedModel.run


async def run(self: ServedModel, *arguments: Any) -> Any:
    _kept.append(bytes(KEPT_BYTES))
    return await _run(self, *arguments)


if __name__ == "__main__":
    WorkerProcess.program = "tests.end_to_end.fake_worker"
    ServedModel.run = run  # type: ignore[assignment,method-assign]
    sys.exit(program.main())
