"""The calls that write text, of both clients: `generate`, `stream` and `chat`."""

from collections.abc import Coroutine, Iterable
from functools import partial
from typing import Any, Literal, TypeAlias, Unpack, overload

from loquor import _methods as methods
from loquor import _requests as requests
from loquor._batch import Batch
from loquor._connection import ClientState, Connection
from loquor._generation import Chat, GenerateOptions, Generation, Messages, Prompt
from loquor._stream import AsyncGenerationStream
from loquor._transcript import Transcript
from loquor._transport import CallContext, Method, Replies, Request, Response

Prompts: TypeAlias = Iterable[Prompt]


class GenerationCalls(Connection):
    """What both clients can write."""

    @overload
    async def generate(  # type: ignore[overload-overlap]  # a str is an Iterable[str], and one prompt
        self, model: str, prompt: Prompt, **options: Unpack[GenerateOptions]
    ) -> Generation: ...
    @overload
    async def generate(self, model: str, prompt: Prompts, **options: Unpack[GenerateOptions]) -> list[Generation]: ...
    async def generate(
        self, model: str, prompt: Prompt | Prompts, **options: Unpack[GenerateOptions]
    ) -> Generation | list[Generation]:
        """What the model writes on from a prompt, whole; or from each of several, in their order.

        A prompt is a text, a sequence of token ids, or a `Chat`. Several go out in one request and are written side by
        side; where one fails, the others are written to their end and its error is raised, with all of them in
        `partial`.

        The options are the fields of `SamplingParams`, or `sampling=SamplingParams(...)`, which fields beside it
        change. `version` is the one served, unless named; `cache_salt` keeps the prompt's cache apart; `priority` is 1
        (first) to 9 (last), 5 by default; `deadline_seconds` is for all of it, to the last token.
        """
        several = requests.several_prompts(prompt)
        if several is None:
            return await self.stream(model, prompt, **options).result()  # type: ignore[arg-type]
        request = requests.generate_batch_request(model, several, options)
        context = self._generation_context(options)
        transcripts = [Transcript(model, request.sampling.n or 1, context.request_id) for _ in several]
        return await Batch(transcripts, context.request_id).read(self._open(methods.GENERATE_BATCH, request, context))

    def stream(self, model: str, prompt: Prompt, **options: Unpack[GenerateOptions]) -> AsyncGenerationStream:
        """What the model writes on from a prompt, as it is written: an iterator of `GenerationDelta`.

        It is sent when the first delta is asked for. It also tells what came so far (`text`, `usage`, `finish_reason`),
        and `cancel` gives it up. Prompt and options are as in `generate`. A stream that breaks before its first event
        is tried again; one that has begun raises, with what came in the error's `partial`.
        """
        request = requests.generate_request(model, prompt, options)
        context = self._generation_context(options)
        transcript = Transcript(model, request.sampling.n or 1, context.request_id)
        return AsyncGenerationStream(transcript, partial(self._open, methods.GENERATE, request, context))

    @overload
    def chat(
        self,
        model: str,
        messages: Messages,
        *,
        stream: Literal[False] = False,
        template: str | None = None,
        continue_last_message: bool = False,
        **options: Unpack[GenerateOptions],
    ) -> Coroutine[Any, Any, Generation]: ...
    @overload
    def chat(
        self,
        model: str,
        messages: Messages,
        *,
        stream: Literal[True],
        template: str | None = None,
        continue_last_message: bool = False,
        **options: Unpack[GenerateOptions],
    ) -> AsyncGenerationStream: ...
    def chat(
        self,
        model: str,
        messages: Messages,
        *,
        stream: bool = False,
        template: str | None = None,
        continue_last_message: bool = False,
        **options: Unpack[GenerateOptions],
    ) -> Coroutine[Any, Any, Generation] | AsyncGenerationStream:
        """The next turn of a conversation: as `generate`, or with `stream` as `stream`, of `Chat(messages, ...)`.

        Each message is a `Message` or `{"role": ..., "content": ...}`. To go on, add the result's `message` to them.
        """
        conversation = Chat(messages, template, continue_last_message)
        if stream:
            return self.stream(model, conversation, **options)
        return self.generate(model, conversation, **options)

    def _generation_context(self, options: GenerateOptions) -> CallContext:
        return self._context(options.get("request_id"), options.get("deadline_seconds"), options.get("priority"))

    def _open(self, method: Method[Request, Response], request: Request, context: CallContext) -> Replies[Response]:
        self._move(ClientState.OPENED)
        return self._transport.server_stream(method, request, context)
