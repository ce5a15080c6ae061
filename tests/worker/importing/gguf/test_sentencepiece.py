"""SentencePiece's tokenizers: the ids are transformers' own, and blanks are treated as llama.cpp treats them."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from loquor_worker.importing import ConversionFailed
from tests.worker.importing.gguf.test_byte_level import TEXTS, both
from tests.worker.importing.gguf_tokenizers import CONTROL, NORMAL, USER_DEFINED, byte_level, pieces

NONE = dict.fromkeys(byte_level())


def test_ids_and_texts_are_transformers_own(written: Callable[..., Path], converted: Callable[..., Path]) -> None:
    file = written(settings={**NONE, **pieces()})
    theirs, ours = both(file, converted(file))
    for text in TEXTS:
        # There transformers puts no blank before a text that begins with one, nor after a special token.
        if text.startswith(" ") or "<s>" in text:
            continue
        ids = theirs(text).input_ids
        assert ours.encode(text).ids == ids, text
        assert ours.decode(ids) == theirs.decode(ids, skip_special_tokens=True), text


@pytest.mark.parametrize("sample", ["gemma", "gemma2", "gemma3", "phi3"])
def test_gemmas_and_phis_are_transformers_own(
    sample: str, written: Callable[..., Path], converted: Callable[..., Path]
) -> None:
    """Gemma's merges follow the order of the tokens, and its runs of blanks are stored as such."""
    settings = pieces()
    settings["tokenizer.ggml.tokens"] += ["  ", "    ", "\n\n"]
    settings["tokenizer.ggml.token_type"] += [USER_DEFINED] * 3
    settings["tokenizer.ggml.scores"] += [-1000.0] * 3
    if sample != "phi3":
        settings["tokenizer.ggml.add_space_prefix"] = False
        settings["tokenizer.ggml.scores"] = settings["tokenizer.ggml.scores"][::-1]
    file = written(sample if sample != "gemma" else "gemma2", settings={**NONE, **settings})
    theirs, ours = both(file, converted(file))
    for text in TEXTS:
        ids = theirs(text).input_ids
        assert ours.encode(text).ids == ids, text
        assert ours.decode(ids) == theirs.decode(ids, skip_special_tokens=True), text


@pytest.mark.parametrize("prefix", [True, False])
def test_a_blank_goes_before_each_text(
    prefix: bool, written: Callable[..., Path], converted: Callable[..., Path]
) -> None:
    file = written(settings={**NONE, **pieces({"tokenizer.ggml.add_space_prefix": prefix})})
    ours = Tokenizer.from_file(str(converted(file) / "tokenizer.json"))
    before = "▁" * prefix
    assert "".join(ours.encode("the cat").tokens) == f"<s>{before}the▁cat"
    assert "".join(ours.encode(" the").tokens) == f"<s>{before}▁the"
    assert "".join(ours.encode("</s>the").tokens) == f"<s></s>{before}the"
    for text in ("the cat", " the", "größer 日本"):
        assert ours.decode(ours.encode(text).ids) == text


def test_two_tokens_merge_by_score_and_not_by_place(
    written: Callable[..., Path], converted: Callable[..., Path]
) -> None:
    settings = pieces({"tokenizer.ggml.add_space_prefix": False})
    for token, score in (("X", -90.0), ("Y", -91.0), ("Z", -92.0), ("XY", -5.0), ("YZ", -2.0)):
        settings["tokenizer.ggml.tokens"].append(token)
        settings["tokenizer.ggml.token_type"].append(NORMAL)
        settings["tokenizer.ggml.scores"].append(score)
    ours = Tokenizer.from_file(str(converted(written(settings={**NONE, **settings})) / "tokenizer.json"))
    assert ours.encode("XYZ", add_special_tokens=False).tokens == ["X", "YZ"]


def test_control_tokens_are_never_merged(written: Callable[..., Path], converted: Callable[..., Path]) -> None:
    settings = pieces({"tokenizer.ggml.add_space_prefix": False})
    settings["tokenizer.ggml.tokens"] += ["X", "Y", "XY", "XYX"]
    settings["tokenizer.ggml.token_type"] += [NORMAL, NORMAL, CONTROL, NORMAL]
    settings["tokenizer.ggml.scores"] += [-90.0, -91.0, 5.0, 9.0]
    ours = Tokenizer.from_file(str(converted(written(settings={**NONE, **settings})) / "tokenizer.json"))
    assert ours.encode("YXYX", add_special_tokens=False).tokens == ["Y", "XY", "X"]
    assert ours.decode(ours.encode("YXYX").ids) == "YX"


def test_ids_that_a_file_does_not_say(written: Callable[..., Path], converted: Callable[..., Path]) -> None:
    settings = {key: value for key, value in pieces().items() if not key.endswith("_token_id")}
    folder = converted(written(settings={**NONE, **settings}))
    loaded = AutoTokenizer.from_pretrained(folder)
    assert (loaded.bos_token_id, loaded.eos_token_id, loaded.unk_token_id) == (1, 2, 0)
    assert loaded("the")["input_ids"][0] == 1


@pytest.mark.parametrize("scores", [None, [0.5], [float("nan")] * 400])
def test_scores_that_cannot_be_used(
    scores: list[float] | None, written: Callable[..., Path], converted: Callable[..., Path]
) -> None:
    with pytest.raises(ConversionFailed, match=r"^model\.gguf: tokenizer\.ggml\.scores: "):
        converted(written(settings={**NONE, **pieces(), "tokenizer.ggml.scores": scores}))


def test_a_prefix_and_an_end_where_they_are_asked_for(
    written: Callable[..., Path], converted: Callable[..., Path]
) -> None:
    settings = pieces({"tokenizer.ggml.add_bos_token": False, "tokenizer.ggml.add_eos_token": True})
    folder = converted(written(settings={**NONE, **settings}))
    ids = Tokenizer.from_file(str(folder / "tokenizer.json")).encode("the cat").ids
    assert ids[0] != 1
    assert ids[-1] == 2
    assert AutoTokenizer.from_pretrained(folder)("the cat").input_ids == ids


def test_a_vocabulary_made_to_merge_without_end(
    written: Callable[..., Path], converted: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loquor_worker.importing.gguf.sentencepiece._MAX_MERGES", 50)
    with pytest.raises(ConversionFailed, match=r"tokenizer\.ggml\.tokens: make more than 50 pairs that merge"):
        converted(written(settings={**NONE, **pieces()}))
