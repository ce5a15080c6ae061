"""A worker whose engine sleeps instead of computing: all of a real worker but the model."""

import sys
import time
from collections.abc import Sequence

from loquor.internal.v1.replica_service_pb2 import Outputs, Submission, WorkerHello
from loquor.v1.model_service_pb2 import TASK_INFER
from loquor.v1.tensor_service_pb2 import DATA_TYPE_FLOAT32, TensorSignature
from loquor_worker.__main__ import serve
from loquor_worker.config import WorkerConfig
from loquor_worker.engines import Size
from loquor_worker.loading import Loaded, batches

STEP_SECONDS = 0.04
STEP_ROWS = 8


class SleepingEngine:
    """Takes x, float32 [n, 1], and gives it back as y after 40 ms, eight rows at the most in a step."""

    hello = WorkerHello(
        task=TASK_INFER,
        device="none",
        dtype="float32",
        batch_tokens=STEP_ROWS,
        inputs=[TensorSignature(name="x", data_type=DATA_TYPE_FLOAT32, shape=[-1, 1])],
        outputs=[TensorSignature(name="y", data_type=DATA_TYPE_FLOAT32, shape=[-1, 1])],
    )

    def size(self, submission: Submission) -> Size:
        rows = submission.tensors.inputs[0].shape[0]
        return Size(rows, rows)

    def warm(self) -> None:
        """Nothing to warm."""

    def step(self, batch: Sequence[Submission]) -> list[Outputs]:
        time.sleep(STEP_SECONDS)
        return [_renamed(submission) for submission in batch]


def _renamed(submission: Submission) -> Outputs:
    outputs = Outputs(tensors=submission.tensors.inputs)
    outputs.tensors[0].name = "y"
    return outputs


def load(config: WorkerConfig) -> Loaded:
    return batches(config, SleepingEngine(), {})


if __name__ == "__main__":
    sys.exit(serve(load))
