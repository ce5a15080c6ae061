"""Conversations as the text that a model was trained on, by the template in its own files.

A template is a program of somebody else's, so it runs in jinja2's sandbox, within bounds of size and time; these are
looked at with each piece that it writes, so a loop that writes nothing is held by none. What it is given and what it
complains of is the caller's, and in no text of an error.
"""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2.nodes import Node, Scope
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from loquor.v1.generation_pb2 import Chat
from loquor_server.errors import FailedPrecondition, InvalidArgument

DEFAULT = "default"

_CONFIG_FILE, _DEFAULT_FILE, _OTHER_FILES = "tokenizer_config.json", "chat_template.jinja", "additional_chat_templates"
_SPECIAL_TOKENS = ("bos_token", "eos_token", "pad_token", "unk_token", "sep_token", "cls_token", "mask_token")
_MOST_MESSAGES, _MOST_ROLE_BYTES, _MOST_CHARACTERS = 1024, 64, 1_048_576
_MOST_TEMPLATE_CHARACTERS, _MOST_RENDERED_CHARACTERS = 65_536, 4_194_304
_MOST_SECONDS = 2.0
# Put behind a last message that is continued, to find its end by. A template that strips contents takes the blank off.
_END_MARK = "END_OF_WHAT_IS_CONTINUED "


class ChatTemplates:
    """Of one model, by name; the one that is used unless another is named is called "default"."""

    def __init__(self, sources: Mapping[str, "_Source"], special_tokens: Mapping[str, str]) -> None:
        environment = _environment()
        self._special_tokens = dict(special_tokens)
        self._templates = {name: _compiled(environment, name, source) for name, source in sources.items()}

    @classmethod
    def load(cls, folder: Path) -> "ChatTemplates | None":
        """None for a model that has none. Raises `FailedPrecondition` that names the file."""
        config = _config(folder)
        sources = _sources(folder, config)
        return cls(sources, _special_tokens(config)) if sources else None

    def render(self, chat: Chat, field: str) -> str:
        """The text that the model is to write on from. Raises `InvalidArgument` whose field begins with `field`."""
        _check(chat, field)
        template = self._templates.get(chat.template or DEFAULT)
        if template is None:
            raise InvalidArgument(f"{field}.template", f"is not one of the model's: {', '.join(self._templates)}")
        messages = [{"role": message.role, "content": message.content} for message in chat.messages]
        if chat.continue_last_message:
            messages[-1]["content"] += _END_MARK
        try:
            text = self._rendered(template, messages, starts_answer=not chat.continue_last_message)
        except Exception:  # a template may raise anything, and says in it what it was given
            raise InvalidArgument(field, "the model's template refuses this conversation") from None
        return _cut(text, chat.messages[-1].content, field) if chat.continue_last_message else text

    def _rendered(self, template: jinja2.Template, messages: list[dict[str, str]], *, starts_answer: bool) -> str:
        pieces, characters, until = [], 0, time.monotonic() + _MOST_SECONDS
        given = {"messages": messages, "tools": None, "documents": None, "add_generation_prompt": starts_answer}
        for piece in template.generate(self._special_tokens | given):
            characters += len(piece)
            if characters > _MOST_RENDERED_CHARACTERS or time.monotonic() > until:
                raise ValueError
            pieces.append(piece)
        return "".join(pieces)


def _check(chat: Chat, field: str) -> None:
    if not 1 <= len(chat.messages) <= _MOST_MESSAGES:
        raise InvalidArgument(f"{field}.messages", f"takes 1 to {_MOST_MESSAGES} messages, not {len(chat.messages)}")
    for place, message in enumerate(chat.messages):
        if not 1 <= len(message.role.encode()) <= _MOST_ROLE_BYTES:
            raise InvalidArgument(f"{field}.messages[{place}].role", f"takes 1 to {_MOST_ROLE_BYTES} bytes")
    if sum(len(message.content) for message in chat.messages) > _MOST_CHARACTERS:
        raise InvalidArgument(f"{field}.messages", f"hold more than {_MOST_CHARACTERS} characters together")
    if chat.continue_last_message and chat.messages[-1].role != "assistant":
        place = len(chat.messages) - 1
        raise InvalidArgument(f"{field}.messages[{place}].role", "must be 'assistant' to be continued")


def _cut(text: str, last: str, field: str) -> str:
    """Up to the mark behind the last message, and without blanks before it where the template strips contents.

    Its words alone would not tell where it ends: "end" is in `<|im_end|>` too.
    """
    end = text.rfind(_END_MARK.rstrip())
    if end < 0 or last.strip() not in text[:end]:
        raise InvalidArgument(f"{field}.continue_last_message", "the template does not keep the last message")
    return text[:end] if text.startswith(_END_MARK, end) else text[:end].rstrip()


# --- files ---


@dataclass(frozen=True, slots=True)
class _Source:
    """A template's text, and the file that it is in."""

    file: str
    text: str


def _config(folder: Path) -> Mapping[str, Any]:
    path = folder / _CONFIG_FILE
    try:
        config = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except (OSError, ValueError, RecursionError) as error:
        raise FailedPrecondition(f"{_CONFIG_FILE} cannot be read: {error}") from None
    if not isinstance(config, dict):
        raise FailedPrecondition(f"{_CONFIG_FILE}: a JSON object was expected")
    return config


def _sources(folder: Path, config: Mapping[str, Any]) -> dict[str, _Source]:
    """Files of their own win over what the tokenizer's configuration holds, as with Hugging Face's own readers."""
    sources = {name: _Source(_CONFIG_FILE, text) for name, text in _configured(config.get("chat_template"))}
    for path in sorted((folder / _OTHER_FILES).glob("*.jinja")):
        sources[path.stem] = _read(path)
    if (folder / _DEFAULT_FILE).exists():
        sources[DEFAULT] = _read(folder / _DEFAULT_FILE)
    return sources


def _configured(value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield DEFAULT, value
    for entry in value if isinstance(value, list) else ():
        name, template = (entry.get(key) for key in ("name", "template")) if isinstance(entry, dict) else (None, None)
        if not isinstance(name, str) or not isinstance(template, str):
            raise FailedPrecondition(f"{_CONFIG_FILE}: chat_template: a list of names and templates was expected")
        yield name, template


def _read(path: Path) -> _Source:
    try:
        return _Source(path.name, path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FailedPrecondition(f"{path.name} cannot be read: {error}") from None


def _special_tokens(config: Mapping[str, Any]) -> dict[str, str]:
    found = {}
    for name in _SPECIAL_TOKENS:
        value = config.get(name)
        content = value.get("content") if isinstance(value, dict) else value
        if isinstance(content, str):
            found[name] = content
    return found


# --- the sandbox ---


class _Generation(Extension):
    """`{% generation %}` marks what an assistant said, for training; here it is its own contents and a scope."""

    tags = {"generation"}  # noqa: RUF012 - as jinja2 declares it

    def parse(self, parser: Parser) -> list[Node]:
        line = next(parser.stream).lineno
        return [Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True), lineno=line)]


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _Generation], autoescape=False
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return environment


def _compiled(environment: jinja2.Environment, name: str, source: _Source) -> jinja2.Template:
    if len(source.text) > _MOST_TEMPLATE_CHARACTERS:
        most = f"has more than {_MOST_TEMPLATE_CHARACTERS} characters"
        raise FailedPrecondition(f"{source.file}: chat template {name!r} {most}")
    try:
        return environment.from_string(source.text)
    except Exception as error:  # nested too deep, it is refused by Python's own compiler, or by nobody
        raise FailedPrecondition(f"{source.file}: chat template {name!r} cannot be read: {error}") from None


def _to_json(
    value: object,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """As `transformers` has it: characters of HTML stay as they are."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _refuse(_reason: str) -> NoReturn:
    raise ValueError
