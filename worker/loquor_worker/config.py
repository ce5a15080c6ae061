"""The settings of one worker. Whoever starts it gives all of them on the command line."""

from dataclasses import dataclass
from pathlib import Path

from loquor.internal.settings import setting
from loquor_worker.generation.limits import GeneratorSettings

TASKS = ("auto", "embed", "classify", "tag_tokens", "infer", "generate")
DTYPES = ("auto", "float32", "bfloat16", "float16", "int8")


@dataclass(frozen=True)
class WorkerConfig:
    """Frozen and complete."""

    address: str = setting("", "where to listen: unix:PATH or host:port")
    epoch: int = setting(0, "a number that no earlier worker of this replica had", minimum=0)
    model: str = setting("", "name of the model, for the log")
    model_path: Path = setting(Path(), "folder of the version to serve")
    replica: int = setting(0, "index of this replica among those of its model; picks the device", minimum=0)
    task: str = setting("auto", "what the model is for", choices=TASKS)
    device: str = setting("auto", "auto, cpu, cuda or cuda:N; several by commas, one a replica in turn")
    dtype: str = setting("auto", "type of weights and arithmetic", choices=DTYPES)
    threads: int = setting(1, "threads on the CPU", minimum=1, maximum=1024)
    max_batch_tokens: int = setting(0, "tokens (or rows) in a step; 0: as the device does best", minimum=0)
    max_batch_requests: int = setting(0, "texts (or rows) in a step; 0: as many as the tokens allow", minimum=0)
    max_sequence_tokens: int = setting(0, "tokens in a text; 0: as many as the model takes", minimum=0)
    max_queue_delay_seconds: float = setting(0.0, "wait so long for a fuller batch", minimum=0.0, maximum=60.0)
    kv_cache_bytes: int = setting(0, "memory for keys and values; 0: a share of what is free", minimum=0)
    kv_block_tokens: int = setting(0, "tokens in a block of the KV cache; 0: as the device does best", minimum=0)
    prefix_cache: bool = setting(True, "keep the keys and values of prompts for later ones")
    draft_tokens: int = setting(0, "tokens guessed ahead by prompt lookup; 0: none", minimum=0)
    heartbeat_seconds: float = setting(0.5, "pace of the heartbeats", minimum=0.01)
    dies_with_parent: bool = setting(True, "be killed when the process that started this one dies")
    log_format: str = setting("human", "form of the log on stderr", choices=("human", "json"))
    log_level: str = setting("info", "least level that is logged", choices=("debug", "info", "warning", "error"))

    @property
    def generation(self) -> GeneratorSettings:
        return GeneratorSettings(
            max_step_tokens=self.max_batch_tokens,
            max_running_sequences=self.max_batch_requests,
            max_sequence_tokens=self.max_sequence_tokens,
            kv_cache_bytes=self.kv_cache_bytes,
            kv_block_tokens=self.kv_block_tokens,
            prefix_cache=self.prefix_cache,
            draft_tokens=self.draft_tokens,
        )

    @property
    def device_of_replica(self) -> str:
        devices = [device.strip() for device in self.device.split(",")]
        return devices[self.replica % len(devices)]
