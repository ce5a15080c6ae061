"""`loquor serve` with workers that sleep."""

import sys

from loquor_server.__main__ import main
from loquor_server.worker_process import WorkerProcess

if __name__ == "__main__":
    WorkerProcess.program = "benchmarks.sleeping_worker"
    sys.exit(main())
