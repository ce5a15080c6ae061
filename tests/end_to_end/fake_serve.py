"""`loquor serve` with workers that are no models, so that starting and losing them takes little time."""

import sys

from loquor_server import __main__ as program
from loquor_server.worker_process import WorkerProcess

if __name__ == "__main__":
    WorkerProcess.program = "tests.end_to_end.fake_worker"
    sys.exit(program.main())
