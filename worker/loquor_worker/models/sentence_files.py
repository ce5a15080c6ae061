"""What the files of sentence-transformers say about a folder's embeddings: `modules.json` and what it names.

It knows files, not tensors. A folder without `modules.json` is a plain encoder: mean pooling, nothing after it.
"""

from dataclasses import dataclass
from pathlib import Path

from loquor_worker.engines import LoadError
from loquor_worker.models.json_file import JsonFile, read_json
from loquor_worker.models.pooling import Pooling

MODULES_FILE = "modules.json"
LENGTH_FILE = "sentence_bert_config.json"

# Older files have a flag for each way of pooling, newer ones name it.
POOLING_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
POOLINGS = tuple(pooling.value for pooling in Pooling)

# The activation of a Dense module by the last part of its class's name.
DENSE_ACTIVATIONS = {"Identity": None, "Tanh": "tanh", "ReLU": "relu", "GELU": "gelu", "SiLU": "silu"}


@dataclass(frozen=True, slots=True)
class Projection:
    """One Dense module: the folder with its weights, its widths, its activation."""

    folder: Path
    inputs: int
    outputs: int
    activation: str | None
    bias: bool


@dataclass(frozen=True, slots=True)
class EmbeddingFiles:
    """How embeddings are made of hidden states."""

    pooling: Pooling = Pooling.MEAN
    projections: tuple[Projection, ...] = ()
    normalize: bool = False


def read_embedding_files(folder: Path) -> EmbeddingFiles:
    """Raises `LoadError` with the name of the file for a module that cannot be served."""
    modules_path = folder / MODULES_FILE
    if not modules_path.exists():
        return EmbeddingFiles()
    pooling, projections, normalize = Pooling.MEAN, [], False
    for values in read_json(modules_path):
        module = JsonFile(modules_path, values)
        kind, module_folder = module.text("type").rpartition(".")[2], folder / module.text("path", "")
        if kind == "Pooling":
            pooling = _pooling(JsonFile(module_folder / "config.json"))
        elif kind == "Dense":
            projections.append(_projection(module_folder))
        elif kind == "Normalize":
            normalize = True
        elif kind != "Transformer" or module_folder != folder:
            raise module.refuse("type", f"the module {kind!r} in {module.text('path', '')!r} is not supported")
    return EmbeddingFiles(pooling, tuple(projections), normalize)


def read_max_length(folder: Path) -> int | None:
    """Tokens that the model was made for, if the files say so."""
    path = folder / LENGTH_FILE
    config = JsonFile(path) if path.exists() else None
    return config.integer("max_seq_length") if config is not None and config.has("max_seq_length") else None


def _pooling(config: JsonFile) -> Pooling:
    if config.has("pooling_mode"):
        return Pooling(config.one_of("pooling_mode", POOLINGS))
    modes = [mode for key, mode in POOLING_FLAGS.items() if config.flag(key, False)]
    if len(modes) != 1 or modes[0] not in POOLINGS:
        raise LoadError(f"{config.path}: the pooling {' + '.join(modes) or 'none'} is not one of {', '.join(POOLINGS)}")
    return Pooling(modes[0])


def _projection(folder: Path) -> Projection:
    config = JsonFile(folder / "config.json")
    activation = config.text("activation_function", "torch.nn.modules.linear.Identity").rpartition(".")[2]
    if activation not in DENSE_ACTIVATIONS:
        raise config.refuse("activation_function", f"{activation!r} is not one of {', '.join(DENSE_ACTIVATIONS)}")
    return Projection(
        folder=folder,
        inputs=config.integer("in_features"),
        outputs=config.integer("out_features"),
        activation=DENSE_ACTIVATIONS[activation],
        bias=config.flag("bias", True),
    )
