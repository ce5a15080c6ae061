"""Texts to token ids and back, off the event loop, in a bounded pool of threads.

The tokenizers library lets go of the interpreter while it works, so a long text holds up nobody. It knows nothing of
models beyond their `tokenizer.json`; limits of length are the caller's.
"""

import asyncio
import functools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from tokenizers import Encoding, Tokenizer

from loquor_server.errors import FailedPrecondition, Overloaded

T = TypeVar("T")
TextInput = str | tuple[str, str]

_MOST_WAITING_CHARACTERS = 64 * 1024 * 1024


class TokenizerPool:
    """The threads, shared by all models, and how much may wait for them."""

    def __init__(self, threads: int) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="tokenizer")
        self._waiting_characters = 0

    async def run(self, characters: int, work: Callable[[], T]) -> T:
        """Run `work` on `characters` characters of text in a thread. Raises `Overloaded` if too many wait already."""
        if self._waiting_characters and self._waiting_characters + characters > _MOST_WAITING_CHARACTERS:
            raise Overloaded("too much text waits to be tokenized", retry_after_seconds=1.0)
        self._waiting_characters += characters
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, work)
        finally:
            self._waiting_characters -= characters

    def close(self) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)


class TextTokenizer:
    """The tokenizer of one model. What its file says of truncation and padding is set aside."""

    def __init__(self, pool: TokenizerPool, file: Path) -> None:
        self._pool = pool
        self._file = file
        self._whole = _read(file)
        self._cutting: dict[int, Tokenizer] = {}

    @property
    def vocabulary_size(self) -> int:
        return int(self._whole.get_vocab_size(with_added_tokens=True))

    @property
    def whole(self) -> Tokenizer:
        """The library's own, for what is too small to leave the event loop for."""
        return self._whole

    async def work(self, characters: int, work: Callable[[], T]) -> T:
        """Do something with so many characters in one of the threads. Raises `Overloaded`."""
        return await self._pool.run(characters, work)

    async def encode(
        self, texts: Sequence[TextInput], *, cut_to: int | None = None, offsets: bool = False, special: bool = True
    ) -> list[Encoding]:
        """One encoding a text or pair, in order; cut to `cut_to` tokens, of a pair the longer text first.

        An encoding that was cut has a non-empty `overflowing`. `offsets` are in code points.
        """
        work = functools.partial(self._encode, texts, cut_to, offsets, special)
        return await self._pool.run(_characters(texts), work)

    async def decode(self, sequences: Sequence[Sequence[int]], *, skip_special: bool) -> list[str]:
        work = functools.partial(self._whole.decode_batch, sequences, skip_special_tokens=skip_special)
        return await self._pool.run(sum(map(len, sequences)), work)

    def _encode(self, texts: Sequence[TextInput], cut_to: int | None, offsets: bool, special: bool) -> list[Any]:
        tokenizer = self._whole if cut_to is None else self._cut_to(cut_to)
        encode = tokenizer.encode_batch if offsets else tokenizer.encode_batch_fast
        return list(encode(list(texts), add_special_tokens=special))

    def _cut_to(self, length: int) -> Tokenizer:
        # Truncation is a property of a tokenizer and not of a call, so each length has a tokenizer of its own.
        if length not in self._cutting:
            cutting = _read(self._file)
            cutting.enable_truncation(length, strategy="longest_first")
            self._cutting[length] = cutting
        return self._cutting[length]


def _read(file: Path) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:
        raise FailedPrecondition(f"{file.name} cannot be read: {error}") from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _characters(texts: Sequence[TextInput]) -> int:
    return sum(len(text) if isinstance(text, str) else len(text[0]) + len(text[1]) for text in texts)
