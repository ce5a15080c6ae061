"""Conversations through templates, as `transformers` renders them; and what templates and callers may not do."""

import json
from pathlib import Path
from typing import Any

import pytest
import transformers
from tokenizers import Tokenizer, models

from loquor.v1.generation_pb2 import Chat, ChatMessage
from loquor_server.chat_template import ChatTemplates
from loquor_server.errors import FailedPrecondition, InvalidArgument

CHATML = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nBe helpful.<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA = (
    "{%- if strftime_now is defined %}\n{%- set year = strftime_now('%Y') %}\n{%- endif %}\n{{- bos_token }}\n"
    "{%- for message in messages %}\n    {{- '<|' + message.role + '|>\n\n' + message.content | trim + '<|eot|>' }}\n"
    "{%- endfor %}\n{%- if add_generation_prompt %}\n{{- '<|assistant|>\n\n' + year }}\n{%- endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}{% if message.role == 'user' %}"
    "{{ '[INST] ' + message.content + ' [/INST]' }}{% elif message.content == 'skip' %}{% continue %}{% else %}"
    "{% generation %}{{ message.content + eos_token }}{% endgeneration %}{% endif %}{% endfor %}"
)
JSON = (
    "{{ messages | tojson }}{{ messages[0] | tojson(indent=2) }}{{ messages | tojson(true) }}"
    "{{ messages | tojson(separators=(',', ':'), sort_keys=true) }}"
)
ABSENT = "{% if tools is not none %}tools{% endif %}{% if documents is not none %}documents{% endif %}none of them"
SCOPED = "{% set said = 'before' %}{% generation %}{% set said = 'in' %}{{ said }}{% endgeneration %}{{ said }}"
SPECIAL = {"bos_token": "<s>", "eos_token": {"content": "</s>", "lstrip": False}}

CONVERSATION = [
    ("user", "  What is <b>é</b>? "),
    ("assistant", "skip"),
    ("user", "Tell 'me' more\n"),
    ("assistant", "A word"),
]


def save(folder: Path, template: Any, **config: Any) -> Path:
    (folder / "tokenizer_config.json").write_text(json.dumps({**SPECIAL, "chat_template": template, **config}))
    return folder


def load(folder: Path) -> ChatTemplates:
    templates = ChatTemplates.load(folder)
    assert templates is not None
    return templates


def chat(*messages: tuple[str, str], **fields: Any) -> Chat:
    return Chat(messages=[ChatMessage(role=role, content=content) for role, content in messages], **fields)


def reference(template: str, messages: list[tuple[str, str]], **options: Any) -> str:
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel({"a": 0}, unk_token="a")), bos_token="<s>", eos_token="</s>"
    )
    said = [{"role": role, "content": content} for role, content in messages]
    return str(tokenizer.apply_chat_template(said, chat_template=template, tokenize=False, **options))


@pytest.mark.parametrize("template", [CHATML, LLAMA, MISTRAL, JSON, ABSENT, SCOPED])
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_it_renders_what_transformers_does(template: str, count: int, tmp_path: Path) -> None:
    messages = CONVERSATION[:count]
    wanted = reference(template, messages, add_generation_prompt=True)
    assert load(save(tmp_path, template)).render(chat(*messages), "input.chat") == wanted


@pytest.mark.parametrize("template", [CHATML, LLAMA, MISTRAL])
def test_a_last_message_is_continued_as_transformers_does(template: str, tmp_path: Path) -> None:
    wanted = reference(template, CONVERSATION, continue_final_message=True)
    asked = chat(*CONVERSATION, continue_last_message=True)
    assert load(save(tmp_path, template)).render(asked, "input.chat") == wanted


# Words that are in a template's own marks too, blanks that it may strip, and nothing at all.
@pytest.mark.parametrize("last", ["im", "end", "<|im_end|>", "s", "word ", "  word", " a b\n", "\n", "", "ok\n\nok"])
@pytest.mark.parametrize("template", [CHATML, LLAMA, MISTRAL])
def test_whatever_is_continued_ends_where_it_does_with_transformers(template: str, last: str, tmp_path: Path) -> None:
    said = [("user", "end"), ("assistant", last)]
    wanted = reference(template, said, continue_final_message=True)
    assert load(save(tmp_path, template)).render(chat(*said, continue_last_message=True), "input.chat") == wanted


@pytest.mark.parametrize("template", ["{{ messages[0].role }}", "{{ messages[0].content | upper }}"])
def test_a_last_message_that_the_template_does_not_keep_is_not_continued(template: str, tmp_path: Path) -> None:
    asked = chat(("assistant", "canary"), continue_last_message=True)
    with pytest.raises(InvalidArgument) as refusal:
        load(save(tmp_path, template)).render(asked, "input.chat")
    assert refusal.value.field == "input.chat.continue_last_message"
    assert "canary" not in refusal.value.message


def test_the_real_model_has_one(models: Path) -> None:
    text = load(models / "smollm2" / "1").render(chat(("user", "Hello")), "input.chat")
    assert text.endswith("<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n")


def test_named_templates_and_files(tmp_path: Path) -> None:
    save(tmp_path, [{"name": "default", "template": "one"}, {"name": "tools", "template": "two"}])
    (tmp_path / "additional_chat_templates").mkdir()
    (tmp_path / "additional_chat_templates" / "short.jinja").write_text("three")
    templates = load(tmp_path)
    said = [("user", "x")]
    for name, text in (("", "one"), ("default", "one"), ("tools", "two"), ("short", "three")):
        assert templates.render(chat(*said, template=name), "input.chat") == text
    with pytest.raises(InvalidArgument, match="default, tools, short") as refusal:
        templates.render(chat(*said, template="secret words"), "inputs[3].chat")
    assert refusal.value.field == "inputs[3].chat.template"
    assert "secret" not in refusal.value.message
    (tmp_path / "chat_template.jinja").write_text("of its own file")
    assert load(tmp_path).render(chat(*said), "input.chat") == "of its own file"


def test_a_model_without_one(tmp_path: Path) -> None:
    assert ChatTemplates.load(tmp_path) is None
    assert ChatTemplates.load(save(tmp_path, None)) is None


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        (chat(), "input.chat.messages"),
        (chat(*[("user", "x")] * 1025), "input.chat.messages"),
        (chat(("user", "x"), ("", "y")), "input.chat.messages[1].role"),
        (chat(("r" * 65, "x")), "input.chat.messages[0].role"),
        (chat(("user", "x" * 600_000), ("user", "x" * 600_000)), "input.chat.messages"),
        (chat(("user", "x"), continue_last_message=True), "input.chat.messages[0].role"),
    ],
)
def test_conversations_that_cannot_be(asked: Chat, field: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        load(save(tmp_path, CHATML)).render(asked, "input.chat")
    assert refusal.value.field == field


@pytest.mark.parametrize(
    "template",
    [
        "{{ raise_exception(messages[0].content) }}",
        "{{ messages[0].missing.deeper }}",
        "{{ messages[0].content + 1 }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ cycler.__init__.__globals__.os.system('touch /tmp/never') }}",
        "{% for i in range(10**9) %}x{% endfor %}",
        "{% for i in range(90000) %}{% for j in range(90000) %}{{ 'words' * 100 }}{% endfor %}{% endfor %}",
        "{% for i in range(90000) %}{% for j in range(90000) %}{{ '' }}{% endfor %}{% endfor %}",
        "{{ messages.append(1) }}",
    ],
)
def test_a_template_that_misbehaves_is_stopped_without_a_word_of_the_caller(template: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        load(save(tmp_path, template)).render(chat(("user", "canary")), "input.chat")
    assert refusal.value.field == "input.chat"
    assert "canary" not in refusal.value.message


@pytest.mark.parametrize(
    "template",
    [
        "{% if %}",
        "{{ x",
        "{{ 1 | unknown }}",
        "x" * 65_537,
        "{{ " + "(" * 20_000 + "1" + ")" * 20_000 + " }}",
        "{% for x in y %}" * 60 + "{% endfor %}" * 60,
        [{"name": 1, "template": "x"}],
        ["x"],
    ],
)
def test_files_that_cannot_be_read_are_named(template: Any, tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match=r"^tokenizer_config\.json: "):
        ChatTemplates.load(save(tmp_path, template))


def test_a_template_in_a_file_of_its_own_is_refused_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "additional_chat_templates").mkdir()
    for name in ("additional_chat_templates/short.jinja", "chat_template.jinja"):
        (tmp_path / name).write_text("{% if %}")
        with pytest.raises(FailedPrecondition, match=Path(name).name.replace(".", r"\.")):
            ChatTemplates.load(tmp_path)
        (tmp_path / name).write_bytes(b"\xff")
        with pytest.raises(FailedPrecondition, match=Path(name).name.replace(".", r"\.")):
            ChatTemplates.load(tmp_path)
        (tmp_path / name).unlink()


@pytest.mark.parametrize("text", ["{", "[]", "[" * 100_000])
def test_a_configuration_that_is_none_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text(text)
    with pytest.raises(FailedPrecondition, match=r"^tokenizer_config\.json"):
        ChatTemplates.load(tmp_path)
