"""Makes the engine of a model that writes text, and decides how large its KV cache is.

The only place that knows the defaults of blocks, running sequences and step sizes by the kind of device.
"""

from dataclasses import dataclass
from pathlib import Path

import torch

from loquor_worker.engines import LoadError
from loquor_worker.engines.device import choose_device, choose_dtype
from loquor_worker.engines.generator import GeneratorEngine
from loquor_worker.engines.memory import free_bytes
from loquor_worker.generation.block_pool import BlockPool
from loquor_worker.generation.draft import PromptLookup
from loquor_worker.generation.limits import GeneratorSettings, Limits
from loquor_worker.generation.scheduler import GenerationScheduler
from loquor_worker.generation_work import GenerationWork
from loquor_worker.models import int8
from loquor_worker.models.assembly import Assembly
from loquor_worker.models.decode_graphs import CudaRecorder
from loquor_worker.models.json_file import JsonFile
from loquor_worker.models.kv_cache import KvCache, bytes_per_block
from loquor_worker.models.language_model import CachedAttention, LanguageModel
from loquor_worker.models.paged_kernels import choose_paged
from loquor_worker.sampling.sampler import Sampler

INT8 = "int8"


@dataclass(frozen=True, slots=True)
class Defaults:
    """`memory_share` of what is free is for the cache, though never more than all running sequences could fill."""

    block_tokens: int
    step_tokens: int
    running_sequences: int
    memory_share: float


# Flash attention takes blocks of 256 tokens; on the CPU small ones waste less (docs/decisions/0013).
DEFAULTS = {"cpu": Defaults(16, 512, 32, 0.25), "cuda": Defaults(256, 8192, 256, 0.9)}


def load_generator(path: Path, *, device: str, dtype: str, settings: GeneratorSettings) -> GenerationWork:
    """The work of a version's folder. Raises `LoadError` for files or settings that cannot be served."""
    chosen = choose_device(device)
    defaults = DEFAULTS.get(chosen.type, DEFAULTS["cpu"])
    if dtype == INT8:
        int8.check_available(chosen)
    computes = torch.float32 if dtype == INT8 else choose_dtype(dtype, chosen)
    assembly = Assembly(path, chosen, computes, settings.max_sequence_tokens or None)
    model = language_model(assembly, settings, defaults, in_int8=dtype == INT8)
    tokens = min(assembly.config.max_positions, model.cache.blocks * model.cache.block_tokens)
    limits = Limits(
        step_tokens=settings.max_step_tokens or defaults.step_tokens,
        running_sequences=settings.max_running_sequences or defaults.running_sequences,
        sequence_tokens=tokens,
    )
    ends = end_ids(path)
    if settings.records_steps and chosen.type == "cuda" and model.has_flash:
        model.record_steps(CudaRecorder(), limits.running_sequences, limits.sequence_tokens)
    sampler = Sampler(assembly.config.vocabulary_size, ends, path / "tokenizer.json")
    name = dtype if dtype == INT8 else str(computes).removeprefix("torch.")
    return _work(GeneratorEngine(model, sampler, limits, name), model.cache, ends, settings)


def end_ids(path: Path) -> frozenset[int]:
    """The tokens that end a text, as the files say; the generation's own before the model's."""
    for name in ("generation_config.json", "config.json"):
        if (path / name).exists():
            file = JsonFile(path / name)
            if ids := file.integers("eos_token_id"):
                return frozenset(ids)
    return frozenset()


def _work(engine: GeneratorEngine, cache: KvCache, ends: frozenset[int], settings: GeneratorSettings) -> GenerationWork:
    pool = BlockPool(cache.blocks, cache.block_tokens, prefix_cache=settings.prefix_cache)
    drafter = PromptLookup(most_drafts=settings.draft_tokens) if settings.draft_tokens else None
    scheduler = GenerationScheduler(pool, engine.limits, ends, drafter)
    return GenerationWork(engine, scheduler, pool, engine.limits)


def language_model(
    assembly: Assembly, settings: GeneratorSettings, defaults: Defaults, *, in_int8: bool
) -> LanguageModel:
    """The decoder of a folder, with a cache of the memory that its weights leave."""
    tokens = settings.kv_block_tokens or defaults.block_tokens
    attention = CachedAttention(choose_paged(assembly.config, assembly.device, assembly.dtype, tokens))
    transformer, head = assembly.language_model(attention)
    if in_int8:
        int8.quantize(transformer)
        int8.quantize(head)
    elif settings.max_running_sequences != 1:  # a single row reads plain weights faster
        assembly.pack(transformer)
        assembly.pack(head, keeps_plain=assembly.config.tied_head)
    attention.cache = _cache(assembly, settings, defaults)
    return LanguageModel(transformer, head, attention)


def _cache(assembly: Assembly, settings: GeneratorSettings, defaults: Defaults) -> KvCache:
    config, block_tokens = assembly.config, settings.kv_block_tokens or defaults.block_tokens
    size = bytes_per_block(config, block_tokens, assembly.dtype)
    running = settings.max_running_sequences or defaults.running_sequences
    most = running * -(-config.max_positions // block_tokens)
    if settings.kv_cache_bytes:
        blocks = min(settings.kv_cache_bytes // size, most)
    else:
        blocks = min(int(free_bytes(assembly.device) * defaults.memory_share) // size, most)
    if blocks < 1:
        raise LoadError(f"kv_cache_bytes: no room for one block of {block_tokens} tokens, which takes {size} bytes")
    return KvCache(config, blocks, block_tokens, assembly.device, assembly.dtype)
