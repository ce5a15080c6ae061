"""The real language model, served: what it says, in any batch, within a structure, and over both protocols."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import loquor
from tests.conftest import RunningServer

CAPITAL = [loquor.Message("user", "What is the capital of France?")]
GREEDY = loquor.SamplingParams(temperature=0, max_tokens=24)


@pytest.fixture(scope="module")
def talker(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("talker")
    (folder / "loquor.toml").write_text("[models.smollm2]\nkv_cache_bytes = 200_000_000\ndraft_tokens = 3\n")
    flags = [
        "--address",
        "127.0.0.1:0",
        "--metrics-address",
        "127.0.0.1:0",
        "--repository",
        str(models),
        "--threads",
        "1",
    ]
    server = RunningServer([*flags, "--models", "smollm2", "--config", str(folder / "loquor.toml")], folder / "log")
    yield server
    assert server.stop() == 0


def test_it_answers_a_question_as_a_stream(talker: RunningServer) -> None:
    with loquor.Client(talker.address) as client:
        stream = client.chat("smollm2", CAPITAL, stream=True, sampling=GREEDY)
        deltas = [delta.text for delta in stream]
        assert "".join(deltas) == stream.text == "The capital of France is Paris."
        assert len(deltas) > 3
        assert stream.finish_reason is loquor.FinishReason.STOP
        again = client.chat("smollm2", CAPITAL, sampling=GREEDY)
        assert again.text == stream.text
        assert again.usage.cached_prompt_tokens >= 16
        assert client.get_model("smollm2").task is loquor.Task.GENERATE


async def test_a_seed_holds_beside_others(talker: RunningServer) -> None:
    options = loquor.SamplingParams(temperature=0.8, top_p=0.95, max_tokens=16, seed=11)
    prompts = [f"Once upon a time, number {number}," for number in range(8)]
    async with loquor.AsyncClient(talker.address) as client:
        alone = await client.generate("smollm2", prompts[3], sampling=options)
        together = await asyncio.gather(*(client.generate("smollm2", prompt, sampling=options) for prompt in prompts))
        batch = await client.generate("smollm2", prompts, sampling=options)
    assert alone.text == together[3].text == batch[3].text
    assert len({one.text for one in together}) == 8


def test_it_keeps_to_a_structure(talker: RunningServer) -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 12}, "people": {"type": "integer", "maximum": 99}},
        "required": ["city", "people"],
        "additionalProperties": False,
    }
    with loquor.Client(talker.address) as client:
        for seed in range(3):
            told = client.generate("smollm2", "A city:", json_schema=schema, max_tokens=80, seed=seed)
            assert told.finish_reason is loquor.FinishReason.STOP
            assert json.loads(told.text).keys() == {"city", "people"}
        told = client.generate("smollm2", "A date:", regex="[0-9]{4}-[0-9]{2}-[0-9]{2}", temperature=1.5, seed=1)
        assert len(told.text) == 10
        with pytest.raises(loquor.InvalidArgument, match="regex"):
            client.generate("smollm2", "A date:", regex="(unclosed")
