"""Makes the engine that a version's folder asks for.

The only place that knows which files mean which engine, and the defaults of device, dtype and limits.
"""

from pathlib import Path

from loquor.internal.v1.replica_service_pb2 import (
    LABEL_SCORING_IDENTITY,
    LABEL_SCORING_SIGMOID,
    LABEL_SCORING_SOFTMAX,
    LabelScoring,
)
from loquor.v1.model_service_pb2 import TASK_CLASSIFY, TASK_EMBED, TASK_TAG_TOKENS
from loquor_worker.engines import Engine, LoadError
from loquor_worker.engines.answers import Answers, EmbeddingAnswers, SequenceAnswers, TokenAnswers
from loquor_worker.engines.device import AUTO, choose_device, choose_dtype
from loquor_worker.engines.encoder import EncoderEngine, EncoderLimits
from loquor_worker.models.assembly import LANGUAGE_MODELS, Assembly
from loquor_worker.models.json_file import JsonFile
from loquor_worker.models.sentence_files import read_embedding_files, read_max_length

TENSOR_FILE = "model.pt2"
TASKS = {"embed": TASK_EMBED, "classify": TASK_CLASSIFY, "tag_tokens": TASK_TAG_TOKENS}
INFER, GENERATE = "infer", "generate"
# Tokens in one step by the kind of device; docs/decisions/0005 has the measurements.
BATCH_TOKENS = {"cpu": 1024, "cuda": 16384}
# Rows in one step of an exported module.
BATCH_ROWS = 256


def load_engine(
    path: Path,
    *,
    task: str | None,
    device: str,
    dtype: str,
    max_batch_tokens: int | None,
    max_sequence_tokens: int | None,
) -> Engine:
    """Load a version's folder. `task` None is inferred from its files, `device` and `dtype` may be `auto`.

    Raises `LoadError` for a folder or a setting that cannot be served.
    """
    chosen = task or _task(path)
    if chosen == INFER:
        return _tensor_engine(path, device, dtype, max_batch_tokens)
    if chosen not in TASKS:
        raise LoadError(f"task: {chosen!r} is not one of {', '.join((*TASKS, INFER, GENERATE))}")
    chosen_device = choose_device(device)
    assembly = Assembly(path, chosen_device, choose_dtype(dtype, chosen_device))
    limits = _limits(assembly, max_batch_tokens, max_sequence_tokens)
    return EncoderEngine(TASKS[chosen], assembly.transformer(), _answers(chosen, assembly), limits)


def is_generator(path: Path, task: str | None) -> bool:
    """Whether a version's folder is for writing text; `load_generator` is for those. Raises `LoadError`."""
    return (task or _task(path)) == GENERATE


def _tensor_engine(path: Path, device: str, dtype: str, max_batch_tokens: int | None) -> Engine:
    # Only here, because torch.export takes seconds to import.
    from loquor_worker.engines.tensor import TensorEngine
    from loquor_worker.engines.tensor_program import TensorProgram

    if dtype != AUTO:
        raise LoadError(f"dtype: {dtype!r}: an exported module keeps the types that it has; leave it at {AUTO!r}")
    return TensorEngine(TensorProgram.load(path, choose_device(device)), max_batch_tokens or BATCH_ROWS)


def _task(path: Path) -> str:
    """An exported module is one by its file; plain encoders are for embeddings."""
    if (path / TENSOR_FILE).exists():
        return INFER
    architectures = [str(name) for name in JsonFile(path / "config.json").items("architectures")]
    if any(name.endswith(LANGUAGE_MODELS) for name in architectures):
        return GENERATE
    if any(name.endswith("ForSequenceClassification") for name in architectures):
        return "classify"
    if any(name.endswith("ForTokenClassification") for name in architectures):
        return "tag_tokens"
    return "embed"


def _limits(assembly: Assembly, max_batch_tokens: int | None, max_sequence_tokens: int | None) -> EncoderLimits:
    bounds = [assembly.config.max_positions, read_max_length(assembly.folder), max_sequence_tokens]
    batch_tokens = max_batch_tokens or BATCH_TOKENS.get(assembly.device.type, BATCH_TOKENS["cpu"])
    return EncoderLimits(min(bound for bound in bounds if bound), batch_tokens)


def _answers(task: str, assembly: Assembly) -> Answers:
    if task == "embed":
        files = read_embedding_files(assembly.folder)
        dimensions = files.projections[-1].outputs if files.projections else assembly.config.hidden_size
        return EmbeddingAnswers(assembly.embedding_head(files), dimensions, normalize=files.normalize)
    if task == "classify":
        sequence_head = assembly.sequence_head()
        labels = _labels(assembly.file, sequence_head.labels.output.outputs)
        return SequenceAnswers(sequence_head, labels, _scoring(assembly.file, len(labels)))
    token_head = assembly.token_head()
    return TokenAnswers(token_head, _labels(assembly.file, token_head.labels.output.outputs))


def _labels(config: JsonFile, count: int) -> list[str]:
    """Names by id; where the files give none, those that Hugging Face gives."""
    names = config.child("id2label")
    if not names.names():
        return [f"LABEL_{index}" for index in range(count)]
    if sorted(names.names()) != sorted(str(index) for index in range(count)):
        raise config.refuse("id2label", f"the weights have {count} labels, the names are {len(names.names())}")
    return [names.text(str(index)) for index in range(count)]


def _scoring(config: JsonFile, labels: int) -> LabelScoring:
    """A single label without a problem type is a ranking score."""
    problem = config.text("problem_type", "")
    if problem == "regression":
        return LABEL_SCORING_IDENTITY
    if problem == "multi_label_classification" or (labels == 1 and not problem):
        return LABEL_SCORING_SIGMOID
    return LABEL_SCORING_SOFTMAX
