"""All families, found by what `config.json` says."""

from loquor_worker.models.families import Family
from loquor_worker.models.families.bert import BERT
from loquor_worker.models.families.distilbert import DISTILBERT
from loquor_worker.models.families.gemma import GEMMA, GEMMA2, GEMMA3
from loquor_worker.models.families.gpt2 import GPT2
from loquor_worker.models.families.llama import LLAMA, MISTRAL, SMOLLM3
from loquor_worker.models.families.modernbert import MODERNBERT
from loquor_worker.models.families.mpnet import MPNET
from loquor_worker.models.families.phi import PHI, PHI3
from loquor_worker.models.families.qwen import QWEN2, QWEN3
from loquor_worker.models.families.roberta import ROBERTA
from loquor_worker.models.json_file import JsonFile

ENCODERS = (BERT, ROBERTA, DISTILBERT, MPNET, MODERNBERT)
DECODERS = (GPT2, LLAMA, MISTRAL, SMOLLM3, QWEN2, QWEN3, GEMMA, GEMMA2, GEMMA3, PHI, PHI3)
FAMILIES = {name: family for family in (*ENCODERS, *DECODERS) for name in family.model_types}


def family_of(config: JsonFile) -> Family:
    """Raises `LoadError` for a family that has no table."""
    return FAMILIES[config.one_of("model_type", tuple(FAMILIES))]
