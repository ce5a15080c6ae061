"""The parser of all commands but `serve`, and what becomes of their failures.

A command raises; here it becomes one sentence on stderr and an exit status, and never a traceback.
"""

import argparse
import os
import sys
from collections.abc import Sequence

import loquor
from loquor.cli import bench, chat, generate, language, models
from loquor.cli.failure import Failure
from loquor.cli.status import DONE, FAILED, INTERRUPTED, USAGE

_DESCRIPTION = "Serve language models over gRPC, and use them: texts in; text, vectors, labels and spans out."
_EPILOG = """\
first steps:
  loquor models pull minilm                 fetch a small model of sentence embeddings into ./models
  loquor serve --models minilm              serve it on 127.0.0.1:8001
  loquor embed minilm "a text"              use it, from another terminal
  loquor chat smollm2                       talk with a model that writes text
  loquor bench minilm --concurrency 16      see how much it takes

exit status: 0 done; 1 a call, a file or the server failed, and stderr has the sentence; 2 wrong usage; 130 Ctrl-C.
Each command explains itself: loquor embed --help. Where the server is: --address, or LOQUOR_ADDRESS.
"""


def run(arguments: Sequence[str]) -> int:
    """One command, from its words to its exit status."""
    parser = make_parser()
    try:
        chosen = _parse(parser, arguments)
    except SystemExit as leave:  # argparse has said why
        return DONE if leave.code in (None, 0) else USAGE
    try:
        chosen.run(chosen)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has seen enough; Python must not complain when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except Failure as failure:
        return _refuse(str(failure), failure.status)
    except loquor.LoquorError as error:
        return _refuse(str(error), FAILED)
    except OSError as error:
        return _refuse(f"{error.filename}: {error.strerror}" if error.filename else str(error), FAILED)
    return DONE


def _parse(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> argparse.Namespace:
    """As argparse does, but flags may stand between the texts: it would take those after a flag for a mistake."""
    chosen, rest = parser.parse_known_args(arguments)
    if "--" in rest:
        rest.remove("--")
    elif any(word.startswith("-") for word in rest):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest and not hasattr(chosen, "takes_rest"):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        getattr(chosen, chosen.takes_rest).extend(rest)
    return chosen


def make_parser() -> argparse.ArgumentParser:
    """With every command in it."""
    parser = argparse.ArgumentParser(
        prog="loquor",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"loquor {loquor.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    commands.add_parser("serve", help="run the server", add_help=False)
    models.add_to(commands)
    generate.add_to(commands)
    chat.add_to(commands)
    language.add_to(commands)
    bench.add_to(commands)
    return parser


def _refuse(sentence: str, status: int) -> int:
    print(f"loquor: {sentence}", file=sys.stderr)
    return status
