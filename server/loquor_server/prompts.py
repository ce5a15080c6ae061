"""The token ids of what a generation is asked to write on from: a text, a conversation, or ids as they are."""

from collections.abc import Sequence

from loquor.v1.generation_pb2 import GenerationInput
from loquor_server import errors
from loquor_server.served_model import ServedModel
from loquor_server.text_inference import tokenizer_of

_MOST_CHARACTERS = 1_048_576


async def prompts_of(model: ServedModel, inputs: Sequence[GenerationInput], fields: Sequence[str]) -> list[list[int]]:
    """One prompt an input, in order. Raises `RequestError` with the name of the field at fault."""
    return [await _prompt_of(model, one, field) for one, field in zip(inputs, fields, strict=True)]


async def _prompt_of(model: ServedModel, one: GenerationInput, field: str) -> list[int]:
    kind = one.WhichOneof("input")
    if kind is None:
        raise errors.InvalidArgument(field, "must have a prompt, a chat or prompt_tokens")
    if kind == "prompt_tokens":
        return _checked(one.prompt_tokens.ids, model, f"{field}.prompt_tokens")
    if kind == "prompt":
        return await _encoded(model, one.prompt, f"{field}.prompt", special=True)
    templates = model.chat_templates
    if templates is None:
        raise errors.InvalidArgument(f"{field}.chat", f"model {model.name!r} has no chat template")
    # Messages are counted where they are rendered; until then nobody looks at each.
    size = one.chat.ByteSize()
    text = await tokenizer_of(model).work(size, lambda: templates.render(one.chat, f"{field}.chat"))
    return await _encoded(model, text, f"{field}.chat", special=False)


async def _encoded(model: ServedModel, text: str, field: str, *, special: bool) -> list[int]:
    if len(text) > _MOST_CHARACTERS:
        raise errors.InvalidArgument(field, f"has {len(text)} characters, at most {_MOST_CHARACTERS} are allowed")
    (encoding,) = await tokenizer_of(model).encode([text], special=special)
    tokens, limit = len(encoding), model.hello.sequence_tokens
    if tokens >= limit:
        raise errors.InvalidArgument(field, f"has {tokens} tokens; prompt and output together are {limit} at the most")
    if not tokens:
        raise errors.InvalidArgument(field, "has no tokens")
    return list(encoding.ids)


def _checked(ids: Sequence[int], model: ServedModel, field: str) -> list[int]:
    hello = model.hello
    if not ids:
        raise errors.InvalidArgument(f"{field}.ids", "must not be empty")
    if len(ids) >= hello.sequence_tokens:
        reason = f"has {len(ids)} tokens; prompt and output together are {hello.sequence_tokens} at the most"
        raise errors.InvalidArgument(f"{field}.ids", reason)
    if max(ids) >= hello.vocabulary_size:
        raise errors.InvalidArgument(f"{field}.ids", f"holds an id beyond the vocabulary of {hello.vocabulary_size}")
    return list(ids)
