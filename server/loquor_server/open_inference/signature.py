"""What a model takes and gives, in the protocol's terms: a text model by its task, a tensor model by its own files."""

from collections.abc import Iterable

from loquor.v1.model_service_pb2 import TASK_CLASSIFY, TASK_EMBED, TASK_GENERATE, TASK_INFER, TASK_TAG_TOKENS
from loquor.v1.tensor_service_pb2 import TensorSignature
from loquor_server.open_inference.generation_signature import GENERATION
from loquor_server.open_inference.tensor_kinds import Signature, TensorKind
from loquor_server.open_inference.tensors import BYTES, DATATYPE_NAMES, FP32
from loquor_server.served_model import ServedModel

TEXT, TEXT_PAIR = "text", "text_pair"
EMBEDDING, LABEL, SCORE, ENTITIES = "embedding", "label", "score", "entities"

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
    if hello.task == TASK_GENERATE:
        return GENERATION
    raise ValueError(f"no signature for task {hello.task}")


def _tensor_kinds(signatures: Iterable[TensorSignature]) -> tuple[TensorKind, ...]:
    return tuple(TensorKind(s.name, DATATYPE_NAMES[s.data_type], tuple(s.shape)[1:]) for s in signatures)
