"""How one model is served: the keys of a version's `loquor.toml` and of the server's `[models.NAME]` tables.

It knows where a key may stand and what values it takes, not what anyone does with them.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from loquor.internal.settings import SettingsError, convert, from_layers, setting

TASKS = ("embed", "classify", "tag_tokens", "infer", "generate")

_DEVICE = re.compile(r"auto|cpu|cuda(:[0-9]{1,3})?")
_MOST = 2**31 - 1


@dataclass(frozen=True)
class ModelSettings:
    """Frozen and complete. A limit of 0 leaves the choice to the engine, or is none."""

    task: str | None = setting(
        None, "embed, classify, tag_tokens, infer or generate; absent: what the model's files say"
    )
    replicas: int = setting(1, "workers, each with a copy of the weights", minimum=1, maximum=256)
    device: str = setting("auto", "auto, cpu, cuda or cuda:N; auto takes CUDA if there is one")
    dtype: str = setting(
        "auto",
        "type of weights and arithmetic; auto: bfloat16 on CUDA, float32 on the CPU; int8: weights alone, on the CPU",
        choices=("auto", "float32", "bfloat16", "float16", "int8"),
    )
    threads: int = setting(0, "threads of each worker on the CPU; 0: a share of the cores", minimum=0, maximum=1024)
    max_batch_tokens: int = setting(0, "token budget of a step; 0: the engine's own", minimum=0, maximum=_MOST)
    max_batch_requests: int = setting(
        0, "requests in one step; 0: no limit (generation: 32 on the CPU, 256 on CUDA)", minimum=0, maximum=_MOST
    )
    max_queue_delay_seconds: float = setting(0.0, "how long a batch waits for more", minimum=0.0, maximum=60.0)
    max_sequence_tokens: int = setting(0, "tokens of one text; 0: what the model takes", minimum=0, maximum=_MOST)
    max_texts_per_request: int = setting(1024, "texts in one request", minimum=1, maximum=1_000_000)
    max_queue_requests: int = setting(4096, "requests admitted and unanswered", minimum=1, maximum=_MOST)
    max_queue_tokens: int = setting(1_000_000, "tokens admitted and unanswered", minimum=1, maximum=_MOST)
    kv_cache_bytes: int = setting(0, "memory for keys and values; 0: a share of what the device has free", minimum=0)
    kv_block_tokens: int = setting(0, "tokens in a block of the KV cache; 0: the engine's own", minimum=0, maximum=4096)
    prefix_cache: bool = setting(True, "keep the keys and values of prompts for later ones that begin alike")
    draft_tokens: int = setting(0, "tokens guessed ahead of each step by prompt lookup; 0: none", minimum=0, maximum=64)
    max_unread_tokens: int = setting(
        4096,
        "tokens of a text that may wait for a caller who does not read",
        minimum=1,
        maximum=_MOST,
    )
    slow_reader_seconds: float = setting(
        30.0, "how long what was written may wait to be read before it is cut off", minimum=0.1, maximum=86_400.0
    )
    step_deadline_seconds: float = setting(
        60.0, "a step that takes longer ends its worker", minimum=0.1, maximum=86_400.0
    )

    @staticmethod
    def parse(table: Mapping[str, Any], where: str) -> dict[str, Any]:
        """The checked values of a table, for `merged`. Raises `SettingsError` that names `where` and the key."""
        rest = dict(table)
        task = rest.pop("task", None)
        if task is not None and task not in TASKS:
            raise SettingsError(f"{where}: task: {task!r} is none of {', '.join(TASKS)}")
        values = convert(ModelSettings, rest, where)
        device = values.get("device", "auto")
        if not _DEVICE.fullmatch(device):
            raise SettingsError(f"{where}: device: {device!r} is none of auto, cpu, cuda, cuda:N")
        return values if task is None else values | {"task": task}

    @classmethod
    def merged(cls, *layers: Mapping[str, Any]) -> "ModelSettings":
        """Settings from parsed tables; a later one wins, and what none says is the default."""
        return from_layers(cls, *layers)
