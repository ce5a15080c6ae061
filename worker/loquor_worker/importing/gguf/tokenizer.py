"""A file's tokenizer in Hugging Face's terms: the contents of `tokenizer.json`, `tokenizer_config.json` and others.

It knows what part the special tokens play; how a text is split, know `byte_level` and `sentencepiece`.
"""

from typing import Any

from loquor_worker.importing.errors import ConversionFailed
from loquor_worker.importing.gguf import byte_level, sentencepiece
from loquor_worker.importing.gguf.metadata import Metadata
from loquor_worker.importing.gguf.refusal import shown
from loquor_worker.importing.gguf.vocabulary import Kind, read_vocabulary

_MODEL, _TEMPLATE = "tokenizer.ggml.model", "tokenizer.chat_template"
_BYTES, _PIECES = "gpt2", "llama"
_MAX_TEMPLATE_CHARACTERS = 1 << 20
# What SentencePiece calls them, where a file does not say.
_DEFAULT_IDS = {"unknown": 0, "bos": 1, "eos": 2}
_ROLES = {"bos": "bos_token", "eos": "eos_token", "unknown": "unk_token", "padding": "pad_token"}
_ID_KEYS = {"bos": "bos_token_id", "eos": "eos_token_id", "padding": "pad_token_id"}


class FileTokenizer:
    """The tokenizer of one file. Raises `ConversionFailed`, when it is made, for a kind that is not known."""

    def __init__(self, metadata: Metadata) -> None:
        self._metadata = metadata
        self._model = metadata.text(_MODEL)
        if self._model not in (_BYTES, _PIECES):
            raise metadata.refuse(_MODEL, f"{shown(self._model)} is not one of {_BYTES}, {_PIECES}")
        self._vocabulary = read_vocabulary(metadata)
        self._ids = {role: self._id(role) for role in _ROLES}

    def built(self) -> Any:
        """The tokenizer itself, of the library `tokenizers`."""
        try:
            from tokenizers import AddedToken
        except ImportError:
            raise ConversionFailed("tokenizers are written with: pip install 'loquor[convert]'") from None
        tokenizer = (byte_level if self._model == _BYTES else sentencepiece).build(self._vocabulary)
        special = [AddedToken(token, special=True, normalized=False) for token in self._special_tokens()]
        tokenizer.add_special_tokens(special)
        # Those that are not spelled as in a text are merged like all others.
        own = (
            token for token in self._vocabulary.of_kind(Kind.USER_DEFINED) if tokenizer.token_to_id(token) is not None
        )
        tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in own])
        if any(self._adds(role) for role in ("bos", "eos")):
            tokenizer.post_processor = self._frame()
        return tokenizer

    def config(self, context_tokens: int) -> dict[str, Any]:
        """The content of `tokenizer_config.json`."""
        tokens = {name: self._token(role) for role, name in _ROLES.items() if self._ids[role] is not None}
        template = {"chat_template": self._template()} if self._metadata.has(_TEMPLATE) else {}
        return {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": context_tokens,
            "clean_up_tokenization_spaces": False,
            "add_bos_token": self._adds("bos"),
            "add_eos_token": self._adds("eos"),
            **tokens,
            **template,
        }

    def generation(self) -> dict[str, Any]:
        """The content of `generation_config.json`."""
        ids = self.special_ids()
        return ids | {"eos_token_id": self._vocabulary.ends() or ids["eos_token_id"]}

    def special_ids(self) -> dict[str, int | None]:
        """What `config.json` says of tokens; none is said to be none, or Hugging Face's own would stand in for it."""
        return {key: self._ids[role] for role, key in _ID_KEYS.items()}

    def _id(self, role: str) -> int | None:
        default = _DEFAULT_IDS.get(role) if self._model == _PIECES else None
        usable = default is not None and default < len(self._vocabulary.tokens)
        return self._vocabulary.id_of(role, default if usable else None)

    def _token(self, role: str) -> str:
        index = self._ids[role]
        if index is None:
            raise self._metadata.refuse(f"tokenizer.ggml.{role}_token_id", "missing, though it is added to every text")
        return self._vocabulary.tokens[index]

    def _special_tokens(self) -> list[str]:
        roles = [self._token(role) for role, index in self._ids.items() if index is not None]
        tokens = self._vocabulary.of_kind(Kind.CONTROL, Kind.UNKNOWN) + roles
        return [token for token in dict.fromkeys(tokens) if token]

    def _template(self) -> str:
        template = self._metadata.text(_TEMPLATE)
        if len(template) > _MAX_TEMPLATE_CHARACTERS:
            raise self._metadata.refuse(_TEMPLATE, f"has more than {_MAX_TEMPLATE_CHARACTERS} characters")
        return template

    def _adds(self, role: str) -> bool:
        by_default = role == "bos" and (self._model == _PIECES or byte_level.adds_bos(self._vocabulary))
        return self._metadata.flag(f"tokenizer.ggml.add_{role}_token", by_default)

    def _frame(self) -> Any:
        """Puts the tokens for beginning and end around each text, if they are asked for."""
        from tokenizers import processors

        added = {role: self._token(role) for role in ("bos", "eos") if self._adds(role)}
        first, last = (["bos"] if "bos" in added else []), (["eos"] if "eos" in added else [])
        second = [f"{part}:1" for part in [*first, "$B", *last]]
        named = [{"id": role, "ids": [self._ids[role]], "tokens": [token]} for role, token in added.items()]
        single = [*first, "$A", *last]
        return processors.TemplateProcessing(single=single, pair=single + second, special_tokens=named)
