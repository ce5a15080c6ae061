"""Token ids to text as they come: whole characters only, up to a stop string and never a part of one.

A token's text depends on those before it, so a few of them are decoded along and their text is left out again, those of
the prompt at first: what is shown is what the prompt goes on with. The library's own `DecodeStream` raises where bytes
that a decoder falls back on are broken, and has no end at which to give what it holds. It knows no model and no caller.
"""

from collections.abc import Sequence

from tokenizers import Tokenizer

_CONTEXT_TOKENS, _MOST_CONTEXT = 5, 32
# A character has four bytes at the most, a byte is a token at the most: what is not whole after these never will be.
_MOST_UNFINISHED, _LAST_UNFINISHED = 8, 3
_BROKEN = "\ufffd"


class TextStream:
    """Of one text. `stop` is the stop string that was met; then nothing more comes.

    Of several stop strings, the one that is complete first counts, and of those that end together the longest: how the
    tokens are split over pushes makes no difference. None counts in the text of the first `min_tokens` tokens.
    """

    def __init__(self, tokenizer: Tokenizer, prompt: Sequence[int], stop: Sequence[str], min_tokens: int = 0) -> None:
        self.stop: str | None = None
        self._decoder = _Decoder(tokenizer, prompt)
        self._stops = tuple(stop)
        self._first_letters = {one[0] for one in stop}
        self._longest = max(map(len, stop), default=0)
        self._tokens_to_stops = min_tokens if stop else 0
        self._held = ""

    def push(self, ids: Sequence[int]) -> str:
        """Take in the next tokens; what may be shown now."""
        before, after = ids[: self._tokens_to_stops], ids[self._tokens_to_stops :]
        self._tokens_to_stops -= len(before)
        # One by one: what of their text is shown, and so out of a stop's reach, must not hang on how they were split.
        shown = "".join([self._decoder.push([id]) for id in before])
        return shown + self._shown(self._decoder.push(after)) if after else shown

    def finish(self) -> str:
        """What was held back, once no more tokens come; broken characters as U+FFFD."""
        shown = self._shown(self._decoder.rest())
        held, self._held = self._held, ""
        return shown + held if self.stop is None else shown

    def _shown(self, text: str) -> str:
        if self.stop is not None:
            return ""
        if not self._stops:
            return text
        text = self._held + text
        found = self._first_stop(text)
        if found is not None:
            place, self.stop = found
            return text[:place]
        place = self._first_beginning(text)
        self._held = text[place:]
        return text[:place]

    def _first_stop(self, text: str) -> tuple[int, str] | None:
        """Where it starts, and which it is."""
        found = [(place + len(stop), place, stop) for stop in self._stops if (place := text.find(stop)) >= 0]
        if not found:
            return None
        _, place, stop = min(found)
        return place, stop

    def _first_beginning(self, text: str) -> int:
        """Where the longest end of the text begins that a stop string begins with.

        It is sought forwards: what is held begins there as a rule, and a place that was passed over is shown and never
        looked at again.
        """
        for place in range(max(0, len(text) - self._longest + 1), len(text)):
            if text[place] in self._first_letters:
                end = text[place:]
                if any(stop.startswith(end) for stop in self._stops):
                    return place
        return len(text)


class _Decoder:
    """Tokens to text in whole characters."""

    def __init__(self, tokenizer: Tokenizer, prompt: Sequence[int]) -> None:
        self._decode = tokenizer.decode
        self._ids = self._end_of(prompt)  # the context, then what has not been shown
        self._context = len(self._ids)
        self._context_text = self._decode(self._ids)

    def _end_of(self, prompt: Sequence[int]) -> list[int]:
        """A few tokens that begin with a whole character, as decoders that fall back on bytes need it."""
        for tokens in range(_CONTEXT_TOKENS, _CONTEXT_TOKENS + _LAST_UNFINISHED + 1):
            if not self._decode(prompt[-tokens:]).startswith(_BROKEN):
                break
        return list(prompt[-tokens:])

    def push(self, ids: Sequence[int]) -> str:
        """Some tokens; as much as ends with a whole character."""
        self._ids.extend(ids)
        tokens = len(self._ids)
        for whole in range(tokens, max(self._context, tokens - _LAST_UNFINISHED - 1), -1):
            text = self._decode(self._ids[:whole])
            if not text.endswith(_BROKEN):
                return self._show(text, whole)
        return self._show(text, whole) if tokens - self._context > _MOST_UNFINISHED else ""

    def rest(self) -> str:
        return self._show(self._decode(self._ids), len(self._ids)) if len(self._ids) > self._context else ""

    def _show(self, text: str, tokens: int) -> str:
        """What `text`, that of so many tokens, adds to the context's: it is the next context, if there is any.

        What adds nothing, such as special tokens, is kept beside the context, though not without end.
        """
        shown = text[len(_shared(self._context_text, text)) :]
        if shown:
            self._ids = self._ids[self._context :]
            tokens -= self._context
        elif tokens > _MOST_CONTEXT:
            del self._ids[self._context : tokens]
            tokens = self._context
        self._context = tokens
        self._context_text = self._decode(self._ids[:tokens])
        return shown


def _shared(context: str, text: str) -> str:
    """What of a text is its context's: all of it, but for a last character that was only begun there."""
    return context if text.startswith(context) else context.rstrip(_BROKEN)


def token_text(tokenizer: Tokenizer, id: int) -> str:
    """How a token reads alone; bytes that are no whole character as U+FFFD."""
    return str(tokenizer.decode([id], skip_special_tokens=False))
