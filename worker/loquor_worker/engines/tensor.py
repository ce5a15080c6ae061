"""The engine of exported modules: requests joined along the batch axis, one call, each caller's rows given back.

It knows tensors and their signatures; `tensor_program` knows the file.
"""

from collections.abc import Sequence
from itertools import groupby

import torch

from loquor.internal.v1.replica_service_pb2 import Outputs, Submission, TensorInput, WorkerHello
from loquor.v1.model_service_pb2 import TASK_INFER
from loquor.v1.tensor_service_pb2 import Tensor
from loquor_worker.engines import InvalidSubmission, Size
from loquor_worker.engines.device import device_errors
from loquor_worker.engines.tensor_program import TensorProgram
from loquor_worker.engines.tensor_signature import ANY_SIZE, DATA_TYPES, Signature, joined, parted

WARM_ROWS = (1, 2, 8)


class TensorEngine:
    """One exported program. Requests whose other axes differ in size run in calls of their own."""

    def __init__(self, program: TensorProgram, batch_rows: int) -> None:
        self._program = program
        self._inputs = program.inputs
        self._names = {signature.name: place for place, signature in enumerate(program.inputs)}
        bounds = [signature.axes[0].high for signature in program.inputs]
        self._batch_rows = min([batch_rows, *(bound for bound in bounds if bound)])

    @property
    def hello(self) -> WorkerHello:
        return WorkerHello(
            task=TASK_INFER,
            device=str(self._program.device),
            dtype=str(self._inputs[0].dtype).removeprefix("torch."),
            threads=torch.get_num_threads(),
            batch_tokens=self._batch_rows,
            inputs=[signature.message for signature in self._inputs],
            outputs=[signature.message for signature in self._program.outputs],
        )

    def size(self, submission: Submission) -> Size:
        if not submission.HasField("tensors"):
            raise InvalidSubmission("tensors: this model takes tensors, not tokens")
        sizes: dict[str, int] = {}
        rows = set()
        for signature, tensor in zip(self._inputs, self._ordered(submission), strict=True):
            signature.check(tensor)
            rows.add(tensor.shape[0])
            for symbol, size in signature.sizes(tensor).items():
                if sizes.setdefault(symbol, size) != size:
                    raise InvalidSubmission(
                        f"inputs[{signature.name}]: an axis is {size}, expected {sizes[symbol]} as in another input"
                    )
        if len(rows) != 1 or 0 in rows:
            raise InvalidSubmission(f"inputs: the first axes are {sorted(rows)}, expected one size of at least 1")
        return Size(rows=min(rows), tokens=min(rows))

    def warm(self) -> None:
        """Zeros through models whose other axes are all fixed: of no other can a size be known to be right."""
        if any(axis.size == ANY_SIZE for signature in self._inputs for axis in signature.axes[1:]):
            return
        for rows in WARM_ROWS:
            if all(signature.axes[0].takes(rows) for signature in self._inputs) and rows <= self._batch_rows:
                self.step([Submission(tensors=TensorInput(inputs=[_zeros(s, rows) for s in self._inputs]))])

    def step(self, batch: Sequence[Submission]) -> list[Outputs]:
        requests = [self._ordered(submission) for submission in batch]
        places = sorted(range(len(batch)), key=lambda place: _tails(requests[place]))
        outputs: dict[int, Outputs] = {}
        with device_errors(), torch.inference_mode():
            for _, group in groupby(places, key=lambda place: _tails(requests[place])):
                together = list(group)
                answers = self._run([requests[place] for place in together])
                outputs.update(zip(together, answers, strict=True))
        return [outputs[place] for place in range(len(batch))]

    def _run(self, requests: list[list[Tensor]]) -> list[Outputs]:
        """Requests of one shape but for their rows."""
        rows = [request[0].shape[0] for request in requests]
        parts = zip(self._inputs, zip(*requests, strict=True), strict=True)
        results = self._program.run(
            *(joined(signature, list(tensors), self._program.device) for signature, tensors in parts)
        )
        pieces = []
        for signature, result in zip(self._program.outputs, results, strict=True):
            if result.shape[0] != sum(rows):
                raise RuntimeError(f"outputs[{signature.name}]: {result.shape[0]} rows for a batch of {sum(rows)}")
            pieces.append(parted(signature.name, result, rows))
        return [Outputs(tensors=tensors) for tensors in zip(*pieces, strict=True)]

    def _ordered(self, submission: Submission) -> list[Tensor]:
        """The inputs in the program's order. Raises `InvalidSubmission` for one too many, too few or unknown."""
        inputs = submission.tensors.inputs
        found: list[Tensor | None] = [None] * len(self._inputs)
        for tensor in inputs:
            place = self._names.get(tensor.name)
            if place is None:
                raise InvalidSubmission(f"inputs[{tensor.name}]: unknown; the model takes {', '.join(self._names)}")
            if found[place] is not None:
                raise InvalidSubmission(f"inputs[{tensor.name}]: given twice")
            found[place] = tensor
        ordered = [tensor for tensor in found if tensor is not None]
        if len(ordered) != len(found):
            raise InvalidSubmission(f"inputs[{self._inputs[found.index(None)].name}]: missing")
        return ordered


def _tails(request: list[Tensor]) -> list[list[int]]:
    """The sizes of all axes but the batch."""
    return [list(tensor.shape[1:]) for tensor in request]


def _zeros(signature: Signature, rows: int) -> Tensor:
    shape = [rows, *(axis.size for axis in signature.axes[1:])]
    data = bytes(torch.Size(shape).numel() * signature.dtype.itemsize)
    return Tensor(name=signature.name, data_type=DATA_TYPES[signature.dtype], shape=shape, data=data)
