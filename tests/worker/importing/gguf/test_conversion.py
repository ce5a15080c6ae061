"""A whole file becomes a folder that transformers loads, chat template and all; a hostile one becomes a sentence."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, GenerationConfig

from loquor_worker.importing import ConversionFailed
from loquor_worker.importing.gguf.conversion import convert, converter
from loquor_worker.importing.packages import silent
from tests.worker.importing.gguf_tokenizers import CONTROL, TEMPLATE, byte_level


def test_the_chat_template_is_the_files(written: Callable[..., Path], converted: Callable[..., Path]) -> None:
    file = written()
    theirs = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    ours = AutoTokenizer.from_pretrained(converted(file))
    assert ours.chat_template == theirs.chat_template == TEMPLATE
    messages = [{"role": "user", "content": "the cat"}, {"role": "assistant", "content": "größer"}]
    assert ours.apply_chat_template(messages).input_ids == theirs.apply_chat_template(messages).input_ids
    assert (ours.bos_token, ours.eos_token) == (theirs.bos_token, theirs.eos_token) == ("<|im_start|>", "<|im_end|>")


def test_a_file_without_a_chat_template(written: Callable[..., Path], converted: Callable[..., Path]) -> None:
    folder = converted(written(settings={"tokenizer.chat_template": None}))
    assert AutoTokenizer.from_pretrained(folder).chat_template is None


def test_the_ends_of_an_answer_are_all_that_the_file_has(
    written: Callable[..., Path], converted: Callable[..., Path]
) -> None:
    """The end of the text, the end of the turn that it names, and a token that is known to be one by its text."""
    tokenizer = byte_level(changes={"tokenizer.ggml.eot_token_id": 7})
    tokenizer["tokenizer.ggml.tokens"].append("<|eot_id|>")
    tokenizer["tokenizer.ggml.token_type"].append(CONTROL)
    folder = converted(written(settings=tokenizer))
    last = len(tokenizer["tokenizer.ggml.tokens"]) - 1
    assert GenerationConfig.from_pretrained(folder).eos_token_id == [2, 7, 0, last]
    assert json.loads((folder / "config.json").read_text())["eos_token_id"] == 2


def test_progress_ends_at_the_whole(written: Callable[..., Path], tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    convert(written(), tmp_path, "auto", lambda *progress: told.append(progress))
    assert {what for what, _, _ in told} == {"convert model.gguf"}
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)
    _, done, total = told[-1]
    assert done == total
    assert (tmp_path / "model.safetensors").stat().st_size > total > 300_000


def test_a_packages_file_is_converted_by_its_name(written: Callable[..., Path], tmp_path: Path) -> None:
    converter("model.gguf")(written().parent, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "config.json", "generation_config.json", "model.gguf", "model.safetensors", "tokenizer.json",
        "tokenizer_config.json",
    ]  # fmt: skip


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_changed_it_is_converted_or_refused(
    file_to_change: bytes, tmp_path: Path, data: st.DataObject
) -> None:
    """Changes fall on the settings, the tokenizer and the table of tensors; nothing but a refusal may come of it."""
    content = bytearray(file_to_change)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(24, len(content) // 20))
        content[place : place + 2] = data.draw(st.binary(min_size=2, max_size=2))
    file = tmp_path / "changed.gguf"
    file.write_bytes(content)
    try:
        convert(file, tmp_path, "auto", silent)
    except ConversionFailed as error:
        assert str(error).startswith("changed.gguf: ")  # noqa: PT017


@pytest.fixture
def file_to_change(written: Callable[..., Path]) -> bytes:
    return written().read_bytes()
