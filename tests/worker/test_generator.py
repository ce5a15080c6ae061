"""The engine against `transformers`, token for token, whatever else is in the step: chunks, guesses, lost blocks."""

import random
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import torch

from loquor.internal.v1 import replica_service_pb2 as wire
from loquor.v1 import generation_pb2 as api
from loquor_worker.engines import InvalidSubmission, LoadError
from loquor_worker.engines.load_generator import end_ids, load_generator
from loquor_worker.generation.limits import GeneratorSettings
from loquor_worker.generation_work import GenerationWork
from tests.worker.decoder_folder import POSITIONS, VOCABULARY, save_decoder
from tests.worker.encoder_folder import save_json

SMALL = GeneratorSettings(max_step_tokens=24, max_running_sequences=4, kv_block_tokens=4, kv_cache_bytes=1 << 20)
TOKENS = 12


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    folder = tmp_path_factory.mktemp("llama")
    return folder, save_decoder(folder)


def load(folder: Path, dtype: str = "float32", **settings: Any) -> GenerationWork:
    changed = GeneratorSettings(**{name: getattr(SMALL, name) for name in SMALL.__slots__} | settings)
    return load_generator(folder, device="cpu", dtype=dtype, settings=changed)


def submission(id: int, prompt: list[int], **sampling: Any) -> wire.Submission:
    right = {"max_tokens": TOKENS, "top_p": 1.0, "repetition_penalty": 1.0, "ignore_eos": True}
    return wire.Submission(
        id=id, generation=wire.GenerationInput(prompt_ids=prompt, sampling=wire.Sampling(**right | sampling))
    )


def run(work: GenerationWork, *submissions: wire.Submission) -> dict[int, list[wire.Tokens]]:
    """All at once, to their ends; with the books checked at each step."""
    told: dict[int, list[wire.Tokens]] = defaultdict(list)
    for one in submissions:
        work.admit("front", one, 0.0)
    while len(work):
        items = work.schedule(time.monotonic())
        for news in work.commit(items, work.run(items), 0.0):
            assert news.result.WhichOneof("outcome") == "tokens"
            told[news.result.id].append(news.result.tokens)
        work.rest()
    return told


def ids(tokens: list[wire.Tokens]) -> list[int]:
    return [id for one in tokens for id in one.ids]


def prompts(count: int = 9) -> list[list[int]]:
    dice = random.Random(3)
    made = [[dice.randrange(3, VOCABULARY) for _ in range(dice.choice([1, 3, 8, 17, 40]))] for _ in range(count)]
    return [*made, [*made[-1], 5], [7, 8, 9] * 6]


def greedy(model: Any, prompt: list[int]) -> list[int]:
    with torch.inference_mode():
        out = model.generate(
            torch.tensor([prompt]), max_new_tokens=TOKENS, do_sample=False, eos_token_id=None, pad_token_id=0
        )
    return list(out[0, len(prompt) :].tolist())


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"draft_tokens": 4},
        {"prefix_cache": False},
        {"kv_cache_bytes": 45_000, "max_sequence_tokens": 64},
        {"max_step_tokens": 4, "draft_tokens": 2},
        {"kv_block_tokens": 16, "max_step_tokens": 512, "max_running_sequences": 32},
    ],
)
def test_greedy_is_what_transformers_writes(llama: tuple[Path, Any], settings: dict[str, Any]) -> None:
    folder, model = llama
    told = run(load(folder, **settings), *(submission(id, prompt) for id, prompt in enumerate(prompts())))
    assert {id: ids(tokens) for id, tokens in told.items()} == {
        id: greedy(model, prompt) for id, prompt in enumerate(prompts())
    }
    assert {tokens[-1].finish for tokens in told.values()} == {api.FINISH_REASON_LENGTH}


def test_these_settings_do_what_they_are_for(llama: tuple[Path, Any]) -> None:
    """Guesses are accepted, blocks are lost, and a prompt is found in the cache."""
    folder, _ = llama
    all_of = [submission(id, prompt, max_tokens=40) for id, prompt in enumerate(prompts())]
    told = run(load(folder, draft_tokens=4), *all_of)
    assert sum(tokens.accepted_draft_tokens for one in told.values() for tokens in one) > 0
    told = run(load(folder, kv_cache_bytes=45_000, max_sequence_tokens=100), *all_of)
    assert sum(tokens.preemptions for one in told.values() for tokens in one) > 0
    work = load(folder)
    run(work, submission(1, prompts()[4] + [3] * 9))
    assert run(work, submission(2, prompts()[4] + [3] * 9))[2][0].cached_prompt_tokens >= 8


@pytest.mark.parametrize("dtype", ["float32", "int8"])
@pytest.mark.parametrize("draft_tokens", [0, 3])
def test_a_seed_gives_the_same_text_alone_and_beside_others(
    llama: tuple[Path, Any], dtype: str, draft_tokens: int
) -> None:
    sampling = {"temperature": 1.0, "top_k": 20, "top_p": 0.9, "min_p": 0.01, "repetition_penalty": 1.2}
    asked = [submission(id, prompt, seed=100 + id, **sampling) for id, prompt in enumerate(prompts())]
    together = run(load(llama[0], dtype, draft_tokens=draft_tokens), *asked)
    alone = load(llama[0], dtype)
    assert {id: ids(tokens) for id, tokens in together.items()} == {
        one.id: ids(run(alone, one)[one.id]) for one in asked
    }
    other = run(alone, submission(0, prompts()[0], seed=5, **sampling))
    assert ids(other[0]) != ids(together[0])


def test_end_tokens_end_a_text_and_are_not_part_of_it(llama: tuple[Path, Any]) -> None:
    folder, model = llama
    text = greedy(model, prompts()[3])
    stop = next(id for id in text if text.index(id) > 2)
    told = run(load(folder), submission(1, prompts()[3], stop_token_ids=[stop]))
    assert ids(told[1]) == text[: text.index(stop)]
    assert told[1][-1].finish == api.FINISH_REASON_STOP


def test_logprobs_are_those_of_the_model(llama: tuple[Path, Any]) -> None:
    folder, model = llama
    prompt = prompts()[2]
    told = run(load(folder, draft_tokens=3), submission(1, prompt, logprobs=3), submission(2, prompt[1:]))
    with torch.inference_mode():
        wanted = model(torch.tensor([prompt + ids(told[1])])).logits[0].log_softmax(-1)
    found = [logprob for tokens in told[1] for logprob in tokens.logprobs]
    for place, (id, one) in enumerate(zip(ids(told[1]), found, strict=True), len(prompt) - 1):
        assert one.logprob == pytest.approx(wanted[place, id].item(), abs=1e-3)
        assert list(one.ids) == wanted[place].topk(3).indices.tolist()
    assert not any(tokens.logprobs for tokens in told[2])


@pytest.mark.parametrize("family", ["GPT2", "Gemma2", "Qwen3", "Phi3", "Mistral"])
def test_other_families(family: str, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"sliding_window": 20} if family in ("Gemma2", "Mistral") else {}
    model = save_decoder(tmp_path, family, **changes)
    told = run(load(tmp_path), *(submission(id, prompt) for id, prompt in enumerate(prompts(4))))
    assert {id: ids(tokens) for id, tokens in told.items()} == {
        id: greedy(model, prompt) for id, prompt in enumerate(prompts(4))
    }


def test_what_it_says_of_itself(llama: tuple[Path, Any]) -> None:
    hello = load(llama[0], "int8", max_sequence_tokens=50).hello
    assert (hello.dtype, hello.device, hello.sequence_tokens) == ("int8", "cpu", 50)
    assert (hello.vocabulary_size, hello.batch_tokens, hello.kv_block_tokens) == (VOCABULARY, 24, 4)
    assert hello.kv_blocks == 4 * 13  # all that four sequences can fill
    assert load(llama[0]).hello.sequence_tokens == POSITIONS


def test_a_small_cache_bounds_the_sequences(llama: tuple[Path, Any]) -> None:
    work = load(llama[0], kv_cache_bytes=20_000)
    assert work.hello.sequence_tokens == 4 * work.hello.kv_blocks < POSITIONS
    with pytest.raises(InvalidSubmission, match=r"max_tokens"):
        work.admit("front", submission(1, [5] * work.hello.sequence_tokens), 0.0)
    with pytest.raises(LoadError, match="kv_cache_bytes"):
        load(llama[0], kv_cache_bytes=100)


@pytest.mark.parametrize(
    ("generation", "model", "ends"),
    [({"eos_token_id": [2, 7]}, 5, {2, 7}), ({}, 5, {5}), (None, [3], {3}), (None, None, set())],
)
def test_where_end_tokens_come_from(generation: Any, model: Any, ends: set[int], tmp_path: Path) -> None:
    save_json(tmp_path / "config.json", {"eos_token_id": model})
    if generation is not None:
        save_json(tmp_path / "generation_config.json", generation)
    assert end_ids(tmp_path) == ends


@pytest.mark.parametrize("value", ["2", [2, None], 2.5, True])
def test_end_tokens_that_are_none(value: Any, tmp_path: Path) -> None:
    save_json(tmp_path / "config.json", {"eos_token_id": value})
    with pytest.raises(LoadError, match="eos_token_id"):
        end_ids(tmp_path)
