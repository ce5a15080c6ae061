"""RoBERTa and XLM-R: BERT's names, positions that start behind the padding id, one token type."""

from loquor_worker.models.config import ModelConfig
from loquor_worker.models.families import Family, HeadTable, bert
from loquor_worker.models.json_file import JsonFile


def configure(config: JsonFile) -> ModelConfig:
    return bert.configure(config, first_position=config.integer("pad_token_id", 1) + 1)


def sequence_head(_config: JsonFile) -> HeadTable:
    return HeadTable(dense="classifier.dense", output="classifier.out_proj")


ROBERTA = Family(
    model_types=("roberta", "xlm-roberta", "camembert"),
    prefix="roberta.",
    configure=configure,
    stems=bert.ENCODER_STEMS,
    sequence_head=sequence_head,
    token_head=bert.token_head,
)
