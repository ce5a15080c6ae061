"""`loquor chat`: a conversation in the terminal, streamed.

Where stdin is no terminal, each of its lines is a turn, and nothing but the answers goes to stdout.
"""

import argparse
import importlib
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import loquor
from loquor.cli import connection, sampling, texts
from loquor.cli.failure import Failure
from loquor.cli.status import USAGE
from loquor.cli.values import model_and_version, utf8
from loquor.cli.writing import statistics, write_text

_DEADLINE_SECONDS = 600
_PROMPT = "> "
_HELP = """\
/reset   forget the conversation, but for what the system said
/help    this
/quit    leave; so do Ctrl-D and, where no answer is coming, Ctrl-C
Ctrl-C while an answer is coming ends the answer. What came of it stays in the conversation.
A line that begins with // is sent with one / less."""

_EPILOG = f"""\
examples:
  loquor chat smollm2
  loquor chat smollm2 --system "You are a pirate." --temperature 0.7 --max-tokens 200
  printf 'My name is Alex.\\nWhat is my name?\\n' | loquor chat smollm2

in the conversation:
{"".join(f"  {line}{chr(10)}" for line in _HELP.splitlines())}
Where stdin is no terminal, each of its lines is a turn, only the answers go to stdout, and the first failure ends it.
"""


def add_to(commands: Any) -> None:
    """The command."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "chat",
        help="a conversation with a model, in the terminal",
        description="A conversation with a model, in the terminal.",
        epilog=_EPILOG,
        parents=[connection.flags(_DEADLINE_SECONDS)],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=_chat)
    parser.add_argument("model", type=model_and_version, metavar="MODEL", help="name, or name:version")
    parser.add_argument("--system", type=utf8, metavar="TEXT", help="say this first, as the system")
    parser.add_argument("--stats", action="store_true", help="say on stderr how many tokens, and how fast")
    sampling.add_arguments(parser)


def _chat(arguments: argparse.Namespace) -> None:
    params = sampling.params(arguments)
    with connection.connect(arguments) as client:
        model = client.get_model(arguments.model.name, version=arguments.model.version)
        if model.task not in (loquor.Task.GENERATE, loquor.Task.UNSPECIFIED):  # the latter of one not loaded
            raise Failure(f"{model.name} is a model for {model.task}, and does not write text", USAGE)
        conversation = Conversation(client, arguments, params)
        if sys.stdin.isatty():
            print(f"{model.name} version {model.version}; /help says what else there is", file=sys.stderr)
            _converse(conversation, _typed_lines())
        else:
            _converse(conversation, texts.stdin_lines())


def _converse(conversation: "Conversation", lines: Iterator[str]) -> None:
    for line in lines:
        match line.strip():
            case "":
                pass
            case "/quit":
                return
            case "/reset":
                conversation.reset()
            case "/help":
                print(_HELP, file=sys.stderr)
            case command if command.startswith("/") and not command.startswith("//"):
                print(f"{command}: is no command; /help lists them", file=sys.stderr)
            case text:
                conversation.turn(text.removeprefix("/"))


def _typed_lines() -> Iterator[str]:
    """Lines that can be edited, until Ctrl-D. Ctrl-C raises, and so ends the program."""
    with suppress(ImportError):
        importlib.import_module("readline")
    while True:
        try:
            yield input(_PROMPT)
        except EOFError:
            print()
            return


class Conversation:
    """What was said, and how to go on. A turn that fails is forgotten, question and all."""

    def __init__(self, client: loquor.Client, arguments: argparse.Namespace, params: loquor.SamplingParams) -> None:
        self._client = client
        self._model = arguments.model
        self._params = params
        self._shows_statistics = arguments.stats
        self._goes_on = sys.stdin.isatty()
        self._first = [] if arguments.system is None else [loquor.Message("system", arguments.system)]
        self.reset()

    def reset(self) -> None:
        """Forgets all but the system's message."""
        self._messages = list(self._first)

    def turn(self, text: str) -> None:
        """Asks, and writes the answer as it comes. Raises `LoquorError` where nobody is there to ask again."""
        question = loquor.Message("user", text)
        stream = self._client.chat(
            self._model.name,
            [*self._messages, question],
            stream=True,
            version=self._model.version,
            sampling=self._params,
        )
        try:
            self._write(stream)
        except loquor.LoquorError as error:
            if not self._goes_on:
                raise
            print(f"loquor: {error}", file=sys.stderr)
            return
        if stream.text:
            self._messages += [question, stream.generation.message]

    def _write(self, stream: loquor.GenerationStream) -> None:
        try:
            with stream:
                for delta in stream:
                    write_text(delta.text)
        except KeyboardInterrupt:
            if not self._goes_on:
                raise
            self._end_line(" [cancelled]")
            return
        except loquor.LoquorError:
            self._end_line("")
            raise
        self._end_line(" [max tokens]" if stream.finish_reason is loquor.FinishReason.LENGTH else "")
        if self._shows_statistics:
            print(statistics(stream.generation), file=sys.stderr)

    def _end_line(self, note: str) -> None:
        write_text((note if self._goes_on else "") + "\n")
