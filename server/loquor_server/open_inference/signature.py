"""What a model takes and gives, in the protocol's terms: a text model by its task, a tensor model by its own files."""

from collections.abc import Iterable
from dataclasses import dataclass

from loquor.v1.model_service_pb2 import TASK_CLASSIFY, TASK_EMBED, TASK_INFER, TASK_TAG_TOKENS
from loquor.v1.tensor_service_pb2 import TensorSignature
from loquor_server.open_inference.tensors import BYTES, DATATYPE_NAMES, FP32
from loquor_server.served_model import ServedModel

TEXT, TEXT_PAIR = "text", "text_pair"
EMBEDDING, LABEL, SCORE, ENTITIES = "embedding", "label", "score", "entities"


@dataclass(frozen=True, slots=True)
class TensorKind:
    """One input or output. `dims` is without the batch, -1 where any size will do."""

    name: str
    datatype: str
    dims: tuple[int, ...] = ()
    optional: bool = False
    labelled: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        return (-1, *self.dims)


@dataclass(frozen=True, slots=True)
class Signature:
    inputs: tuple[TensorKind, ...]
    outputs: tuple[TensorKind, ...]


_TEXT_INPUT = TensorKind(TEXT, BYTES)


def signature_of(model: ServedModel) -> Signature:
    """Raises `Unavailable` before the model's first worker is ready."""
    hello = model.hello
    if hello.task == TASK_INFER:
        return Signature(_tensor_kinds(hello.inputs), _tensor_kinds(hello.outputs))
    if hello.task == TASK_EMBED:
        return Signature((_TEXT_INPUT,), (TensorKind(EMBEDDING, FP32, (hello.embedding_dimensions,)),))
    if hello.task == TASK_CLASSIFY:
        pair = TensorKind(TEXT_PAIR, BYTES, optional=True)
        score = TensorKind(SCORE, FP32, (len(hello.labels),), labelled=True)
        return Signature((_TEXT_INPUT, pair), (TensorKind(LABEL, BYTES), score))
    if hello.task == TASK_TAG_TOKENS:
        return Signature((_TEXT_INPUT,), (TensorKind(ENTITIES, BYTES),))
    raise ValueError(f"no signature for task {hello.task}")


def _tensor_kinds(signatures: Iterable[TensorSignature]) -> tuple[TensorKind, ...]:
    return tuple(TensorKind(s.name, DATATYPE_NAMES[s.data_type], tuple(s.shape)[1:]) for s in signatures)
