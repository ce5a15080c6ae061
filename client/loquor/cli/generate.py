"""`loquor generate`: what a model writes on from each prompt."""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import loquor
from loquor.cli import connection, sampling, texts
from loquor.cli.failure import Failure
from loquor.cli.output import float32, write_json
from loquor.cli.status import USAGE
from loquor.cli.values import at_least_one, model_and_version, utf8, whole_number
from loquor.cli.writing import statistics, write_text

_DEADLINE_SECONDS = 600

_EPILOG = """\
examples:
  loquor generate smollm2 "Once upon a time" --max-tokens 100
  loquor generate smollm2 --chat "Name three rivers." --temperature 0
  loquor generate smollm2 --chat < letter.txt
  loquor generate smollm2 --lines --file prompts.txt --json > answers.jsonl
  loquor generate smollm2 --chat "Invent a person." --schema person.json | jq .name

A prompt is written on from as it is; with --chat it is a question, put into the model's own template. Without one, all
of stdin is the prompt. One prompt is shown as it is written where stdout is a terminal; several are written side by
side, and shown in order.

--json prints one object a text: {"index", "choice", "text", "finish_reason", "stop", "seed", "prompt_tokens",
"cached_prompt_tokens", "completion_tokens", "time_to_first_token_seconds", "total_seconds"}, and "tokens" with
--logprobs. With --stream too, one object a delta, {"index", "choice", "text"}, and the one above with an empty text at
the end of each text.
"""


def add_to(commands: Any) -> None:
    """The command."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "generate",
        help="text that a model writes on from a prompt",
        description="Text that a model writes on from a prompt.",
        epilog=_EPILOG,
        parents=[connection.flags(_DEADLINE_SECONDS)],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=_generate, takes_rest="texts")
    parser.add_argument("model", type=model_and_version, metavar="MODEL", help="name, or name:version")
    _add_prompt_flags(parser)
    _add_output_flags(parser)
    sampling.add_arguments(parser)


def _add_prompt_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("texts", nargs="*", metavar="PROMPT", help="a prompt; without any, all of stdin is one")
    parser.add_argument("--file", metavar="FILE", type=Path, help="take a UTF-8 file as the prompt")
    parser.add_argument("--lines", action="store_true", help="take each line of the file or of stdin as a prompt")
    parser.add_argument("--chat", action="store_true", help="ask it, in the model's own chat template")
    parser.add_argument("--system", type=utf8, metavar="TEXT", help="say this first, as the system; implies --chat")
    parser.add_argument(
        "--batch-size", type=at_least_one, default=32, metavar="PROMPTS", help="prompts in one request (default: 32)"
    )


def _add_output_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--stream",
        action=argparse.BooleanOptionalAction,
        help="show the text as it is written (default: to a terminal, of one prompt)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON, one object a line")
    parser.add_argument("--stats", action="store_true", help="say on stderr how many tokens, and how fast")
    parser.add_argument("-n", "--n", type=at_least_one, metavar="N", help="texts to write for each prompt (default: 1)")
    parser.add_argument(
        "--logprobs",
        type=whole_number,
        metavar="N",
        help="with --json: each token's logprob, and N alternatives",
    )


def _generate(arguments: argparse.Namespace) -> None:
    params = sampling.params(arguments)
    is_streamed = _is_streamed(arguments)
    with connection.connect(arguments) as client:
        prompts = enumerate(_prompts(arguments))
        if is_streamed:
            for index, prompt in prompts:
                _write_stream(arguments, index, _stream(client, arguments, prompt, params))
            return
        for batch in texts.batches(prompts, arguments.batch_size):
            options = {"version": arguments.model.version, "sampling": params}
            answers = client.generate(arguments.model.name, [prompt for _, prompt in batch], **options)
            for (index, _), answer in zip(batch, answers, strict=True):
                _write(arguments, index, answer)


def _is_streamed(arguments: argparse.Namespace) -> bool:
    one = (arguments.n or 1) == 1
    if arguments.stream and not one and not arguments.json:
        raise Failure("--stream: several texts at once would be mixed up; add --json", USAGE)
    if arguments.logprobs is not None and not arguments.json:
        raise Failure("--logprobs: are shown with --json alone", USAGE)
    if arguments.stream is not None:
        return bool(arguments.stream)
    is_one_prompt = len(arguments.texts) <= 1 and not arguments.lines
    return sys.stdout.isatty() and one and is_one_prompt and not arguments.json


def _prompts(arguments: argparse.Namespace) -> Iterator[loquor.Prompt]:
    read = texts.read_texts if arguments.lines else texts.read_whole
    for text in read(arguments):
        if not arguments.chat and arguments.system is None:
            yield text
            continue
        system = [] if arguments.system is None else [loquor.Message("system", arguments.system)]
        yield loquor.Chat([*system, loquor.Message("user", text)])


def _stream(
    client: loquor.Client, arguments: argparse.Namespace, prompt: loquor.Prompt, params: loquor.SamplingParams
) -> loquor.GenerationStream:
    return client.stream(arguments.model.name, prompt, version=arguments.model.version, sampling=params)


def _write_stream(arguments: argparse.Namespace, index: int, stream: loquor.GenerationStream) -> None:
    with stream:
        for delta in stream:
            if arguments.json:
                write_json({"index": index, "choice": delta.choice, "text": delta.text, **_tokens(delta.tokens)})
                sys.stdout.flush()
            else:
                write_text(delta.text)
    ends = tuple(replace(choice, text="", tokens=()) for choice in stream.generation)
    _write(arguments, index, replace(stream.generation, choices=ends))


def _write(arguments: argparse.Namespace, index: int, answer: loquor.Generation) -> None:
    for place, choice in enumerate(answer):
        if arguments.json:
            write_json(_json(index, place, answer, choice))
        else:
            write_text(choice.text + "\n")
    if arguments.stats:
        print(statistics(answer), file=sys.stderr)


def _json(index: int, place: int, answer: loquor.Generation, choice: loquor.Choice) -> dict[str, Any]:
    return {
        "index": index,
        "choice": place,
        "text": choice.text,
        "finish_reason": choice.finish_reason,
        "stop": choice.stop,
        "seed": answer.seed + place,
        "prompt_tokens": choice.usage.prompt_tokens,
        "cached_prompt_tokens": choice.usage.cached_prompt_tokens,
        "completion_tokens": choice.usage.completion_tokens,
        "time_to_first_token_seconds": round(choice.timings.time_to_first_token_seconds, 6),
        "total_seconds": round(choice.timings.total_seconds, 6),
        **_tokens(choice.tokens),
    }


def _tokens(tokens: tuple[loquor.TokenLogprob, ...]) -> dict[str, Any]:
    if not tokens:
        return {}
    return {
        "tokens": [{**_token(one), "alternatives": [_token(other) for other in one.alternatives]} for one in tokens]
    }


def _token(token: loquor.TokenLogprob | loquor.TokenAlternative) -> dict[str, Any]:
    return {"id": token.id, "text": token.text, "logprob": float32(token.logprob)}
