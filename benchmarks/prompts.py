"""64 real chat prompts with the number of tokens that each is to be answered with, and long real texts: in token ids.

A prompt is a task about a headline, a sentence, a paragraph or an opening of an article, in the model's own chat
template. All sides get the same ids in the same order. `transformers` makes them, so nothing of ours has a part in it.
"""

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.texts import all_articles, real_texts

COUNT = 64
LEAST_TOKENS, MOST_TOKENS = 16, 256

_WARM_TOKENS = 8
_TASKS = (
    "Summarize this text in two sentences:\n\n{}",
    "What is this text about?\n\n{}",
    "Explain this to a child of ten years:\n\n{}",
    "Write three questions about this text:\n\n{}",
    "Write a headline for this:\n\n{}",
    "Is this good news or bad news? Say why.\n\n{}",
    "Rewrite this in plain words:\n\n{}",
    "{}\n\nWhat happened next?",
)


@dataclass(frozen=True)
class Request:
    """A prompt, and how many tokens to write, no fewer and no more."""

    ids: list[int]
    max_tokens: int


def requests(folder: Path) -> list[Request]:
    """As mixed as 16 callers would be: lengths of prompts as the texts have them, answers of any length alike."""
    pick = random.Random(1)
    ids = chats(folder, _tasks(folder))
    return [Request(prompt, pick.randint(LEAST_TOKENS, MOST_TOKENS)) for prompt in ids]


def warm_requests(folder: Path) -> list[Request]:
    """Others, short, to run before measuring starts."""
    return [Request(ids, _WARM_TOKENS) for ids in chats(folder, [f"Count from {start}." for start in range(16)])]


def chats(folder: Path, messages: list[str]) -> list[list[int]]:
    """Each message as a conversation of its own that the model is to answer."""
    tokenizer = _tokenizer(folder)
    turns = [[{"role": "user", "content": message}] for message in messages]
    return [tokenizer.apply_chat_template(turn, add_generation_prompt=True)["input_ids"] for turn in turns]


def long_texts(folder: Path, tokens: int) -> Iterator[list[int]]:
    """Different real texts of so many tokens each: articles end to end."""
    tokenizer = _tokenizer(folder)
    ids: list[int] = []
    for article in all_articles():
        ids += tokenizer("\n\n".join(article) + "\n\n\n")["input_ids"]
        while len(ids) >= tokens:
            yield ids[:tokens]
            ids = ids[tokens:]


def _tasks(folder: Path) -> list[str]:
    texts = itertools.islice(real_texts(folder / "tokenizer.json"), COUNT)
    return [task.format(text) for task, text in zip(itertools.cycle(_TASKS), texts, strict=False)]


def _tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)
