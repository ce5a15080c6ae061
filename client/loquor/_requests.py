"""Values to messages. A value of the wrong type is refused here, with its name, before anything is sent.

Limits are the server's to know: it refuses an empty list, an unknown model or a text too long with `InvalidArgument`.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, TypeAlias, TypeVar

from loquor._generation import CallOptions, Chat, GenerateOptions, Message, Prompt, SamplingParams
from loquor._tensors import Tensor
from loquor.v1 import generation_pb2 as generation
from loquor.v1 import language_service_pb2 as language
from loquor.v1 import tensor_service_pb2 as tensor

M = TypeVar("M")

_NOT_SAMPLING = ("sampling", *CallOptions.__annotations__)

Texts: TypeAlias = str | Sequence[str]
"""One text or several."""
Inputs: TypeAlias = str | tuple[str, str] | Sequence[str | tuple[str, str]]
"""One text, one pair of texts (a tuple), or a list of such."""


def build(kind: Callable[..., M], **fields: object) -> M:
    """The message of these fields; None is absent. Raises `TypeError` or `ValueError` with the name of a wrong one."""
    try:
        return kind(**fields)
    except (TypeError, ValueError):
        for name, value in fields.items():
            _check_field(kind, name, value)
        raise


def embed_request(
    model: str, texts: Texts, version: int | None, truncate: bool, normalize: bool | None, name: str = "texts"
) -> language.EmbedRequest:
    """`name` is what to call the texts where one of them is wrong."""
    checked = check_texts(texts, name)
    return build(
        language.EmbedRequest, model=model, version=version, texts=checked, truncate=truncate, normalize=normalize
    )


def check_texts(texts: Texts, name: str = "texts") -> list[str]:
    """The texts as a list. Raises `TypeError` or `ValueError` with the name of the one that is none."""
    if isinstance(texts, str):
        texts = [texts]
    if not isinstance(texts, Sequence) or isinstance(texts, bytes | bytearray | memoryview):
        raise TypeError(f"{name}: takes a str or a sequence of str, not {type(texts).__name__}")
    for index, text in enumerate(texts):
        _check_text(text, f"{name}[{index}]")
    return list(texts)


def classify_inputs(inputs: Inputs) -> list[language.ClassifyInput]:
    """A tuple is one pair, a list is several inputs."""
    if isinstance(inputs, str | tuple):
        inputs = [inputs]
    if not isinstance(inputs, Sequence) or isinstance(inputs, bytes | bytearray | memoryview):
        raise TypeError(f"inputs: takes a str, a pair of str or a list of such, not {type(inputs).__name__}")
    return [_classify_input(item, f"inputs[{index}]") for index, item in enumerate(inputs)]


def token_sequences(sequences: Sequence[int] | Sequence[Sequence[int]]) -> list[language.TokenSequence]:
    """Ids of one text, or of several."""
    if not isinstance(sequences, Sequence) or isinstance(sequences, str | bytes):
        raise TypeError(f"sequences: takes a sequence of token ids, or several, not {type(sequences).__name__}")
    is_one = len(sequences) > 0 and isinstance(sequences[0], int)
    several: Sequence[object] = [sequences] if is_one else sequences
    return [_token_sequence(ids, f"sequences[{index}]") for index, ids in enumerate(several)]


def tensors(inputs: Mapping[str, Any]) -> list[tensor.Tensor]:
    """Each value a `Tensor` or something with a buffer."""
    if not isinstance(inputs, Mapping):
        raise TypeError(f"inputs: takes a mapping of names to tensors, not {type(inputs).__name__}")
    return [_tensor(name, value) for name, value in inputs.items()]


def several_prompts(prompt: Prompt | Iterable[Prompt]) -> list[Prompt] | None:
    """The prompts as a list, or None where it is one: a str, a `Chat` or token ids."""
    if isinstance(prompt, str | Chat):
        return None
    if not isinstance(prompt, Iterable) or isinstance(prompt, bytes | bytearray | memoryview):
        raise TypeError(f"prompt: takes a str, token ids, a Chat, or an iterable of such, not {type(prompt).__name__}")
    several: list[Any] = list(prompt)
    is_one = isinstance(prompt, Sequence) and several and isinstance(several[0], int)
    return None if is_one else several


def generate_request(model: str, prompt: Prompt, options: GenerateOptions) -> language.GenerateRequest:
    return build(
        language.GenerateRequest,
        model=model,
        version=options.get("version"),
        input=_generation_input(prompt, "prompt"),
        sampling=_sampling(options),
        cache_salt=options.get("cache_salt"),
    )


def generate_batch_request(
    model: str, prompts: Sequence[Prompt], options: GenerateOptions
) -> language.GenerateBatchRequest:
    return build(
        language.GenerateBatchRequest,
        model=model,
        version=options.get("version"),
        inputs=[_generation_input(prompt, f"prompts[{index}]") for index, prompt in enumerate(prompts)],
        sampling=_sampling(options),
        cache_salt=options.get("cache_salt"),
    )


def check_strings(values: Iterable[str], name: str) -> list[str]:
    """Names, such as those of outputs."""
    if isinstance(values, str):
        raise TypeError(f"{name}: takes a sequence of str, not one str")
    return check_texts(list(values), name)


def _check_field(kind: Callable[..., object], name: str, value: object) -> None:
    """Protobuf says what is wrong, and not where; so each field is tried alone."""
    try:
        kind(**{name: value})
    except TypeError:
        raise TypeError(f"{name}: takes no {type(value).__name__}") from None
    except UnicodeEncodeError:
        raise ValueError(f"{name}: holds a lone surrogate, which UTF-8 cannot carry") from None
    except ValueError:
        raise ValueError(f"{name}: {value} is out of range") from None


def _check_text(text: object, name: str) -> None:
    if not isinstance(text, str):
        raise TypeError(f"{name}: takes a str, not {type(text).__name__}")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            # Not the error itself: its text would carry the caller's.
            raise ValueError(f"{name}: holds a lone surrogate at {error.start}, which UTF-8 cannot carry") from None


def _classify_input(item: object, name: str) -> language.ClassifyInput:
    if isinstance(item, str):
        _check_text(item, name)
        return language.ClassifyInput(text=item)
    if not isinstance(item, tuple) or len(item) != 2:
        raise TypeError(f"{name}: takes a str or a tuple of two str, not {type(item).__name__}")
    for position, text in enumerate(item):
        _check_text(text, f"{name}[{position}]")
    return language.ClassifyInput(text=item[0], text_pair=item[1])


def _token_sequence(ids: object, name: str) -> language.TokenSequence:
    try:
        return language.TokenSequence(ids=ids)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise TypeError(f"{name}: takes a sequence of token ids, whole numbers from 0 to 4294967295") from None


def _sampling(options: GenerateOptions) -> generation.SamplingParams:
    """`sampling`, changed by the fields that stand beside it."""
    base = SamplingParams() if options.get("sampling") is None else options["sampling"]
    if not isinstance(base, SamplingParams):
        raise TypeError(f"sampling: takes a SamplingParams, not {type(base).__name__}")
    beside: dict[str, Any] = {name: value for name, value in options.items() if name not in _NOT_SAMPLING}
    params = replace(base, **beside)
    values = {one.name: getattr(params, one.name) for one in fields(params)}
    values["stop"] = None if params.stop is None else check_texts(params.stop, "stop")
    values["json_schema"] = _json_schema(params.json_schema)
    return build(generation.SamplingParams, **values)


def _json_schema(schema: Mapping[str, Any] | str | None) -> str | None:
    if schema is None or isinstance(schema, str):
        return schema
    try:
        return json.dumps(schema)
    except (TypeError, ValueError):
        raise TypeError("json_schema: takes a JSON schema as a dict or a str") from None


def _generation_input(prompt: object, name: str) -> generation.GenerationInput:
    if isinstance(prompt, str):
        _check_text(prompt, name)
        return generation.GenerationInput(prompt=prompt)
    if isinstance(prompt, Chat):
        return generation.GenerationInput(chat=_chat(prompt))
    try:
        ids = generation.PromptTokens(ids=iter(prompt))  # type: ignore[call-overload]
        return generation.GenerationInput(prompt_tokens=ids)
    except (TypeError, ValueError):
        raise TypeError(f"{name}: takes a str, a Chat, or token ids, whole numbers from 0 to 4294967295") from None


def _chat(chat: Chat) -> generation.Chat:
    if isinstance(chat.messages, str | Mapping) or not isinstance(chat.messages, Iterable):
        raise TypeError(f"messages: takes an iterable of messages, not {type(chat.messages).__name__}")
    return build(
        generation.Chat,
        messages=[_message(item, f"messages[{index}]") for index, item in enumerate(chat.messages)],
        template=chat.template,
        continue_last_message=chat.continue_last_message,
    )


def _message(item: object, name: str) -> generation.ChatMessage:
    if isinstance(item, Message):
        item = {"role": item.role, "content": item.content}
    if not isinstance(item, Mapping) or item.keys() != {"role", "content"}:
        raise TypeError(f"{name}: takes a Message, or a mapping of 'role' and 'content' alone")
    for key, value in item.items():
        _check_text(value, f"{name}.{key}")
    return generation.ChatMessage(**item)


def _tensor(name: str, value: Any) -> tensor.Tensor:
    try:
        made = Tensor.of(value)
    except TypeError as error:
        raise TypeError(f"inputs[{name!r}]: {error}") from None
    return tensor.Tensor(name=name, data_type=f"DATA_TYPE_{made.data_type.name}", shape=made.shape, data=made.data)
