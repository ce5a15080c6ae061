"""`loquor serve` with workers that write by a rule, in place of a model."""

import sys

from loquor_server import __main__ as program
from loquor_server.worker_process import WorkerProcess

if __name__ == "__main__":
    WorkerProcess.program = "tests.end_to_end.writing_worker"
    sys.exit(program.main())
