"""`loquor bench`: how much a model takes, and how long it takes for it."""

import argparse
import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import loquor
from loquor.cli import connection, load, workload
from loquor.cli.failure import Failure
from loquor.cli.output import write_json
from loquor.cli.progress import Progress
from loquor.cli.report import Report
from loquor.cli.status import USAGE
from loquor.cli.values import at_least_one, model_and_version, more_than_zero, zero_or_more

_MOST_UNDER_WAY = 1000
_PROGRESS_SECONDS = 0.2

_EPILOG = """\
Two questions, two loops:
  closed (--concurrency): so many callers, each asks again once it is answered. How much does it do at most?
  open (--rate): requests come at random at that rate, whatever becomes of them, and each latency counts from when the
  request was due. How long do users wait at that load? A rate that is too high shows as a latency without end.

examples:
  loquor bench minilm --concurrency 16
  loquor bench minilm --rate 40 --duration 30 --texts texts.txt --plot minilm.png
  loquor bench minilm --batch-size 32 --requests 200 --json
  loquor bench smollm2 --concurrency 16 --duration 60 --max-tokens 128

Nothing is tried again: an error is counted. Texts too long for the model are cut, but for one that writes. A tensor
model is sent zeros. Of a model that writes, the time to the first token and the time between two deltas (inter-token)
are measured here, at the caller.
"""


def add_to(commands: Any) -> None:
    """The command."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "bench",
        help="measure latency and throughput",
        description="Measure the latency and the throughput of a model under load.",
        epilog=_EPILOG,
        parents=[connection.flags()],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=_bench)
    parser.add_argument("model", type=model_and_version, metavar="MODEL", help="name, or name:version")
    _add_load_flags(parser)
    _add_text_flags(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object; times in seconds")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the run too; .png, .svg or .pdf")


def _add_load_flags(parser: argparse.ArgumentParser) -> None:
    loop = parser.add_mutually_exclusive_group()
    loop.add_argument(
        "--concurrency", type=at_least_one, default=8, metavar="N", help="closed loop of so many callers (default: 8)"
    )
    loop.add_argument("--rate", type=more_than_zero, metavar="R", help="open loop of so many requests a second")
    parser.add_argument(
        "--duration", type=more_than_zero, default=10.0, metavar="SECONDS", help="send for so long (default: 10)"
    )
    parser.add_argument(
        "--requests", type=at_least_one, default=1_000_000, metavar="N", help="and at most so many (default: 1000000)"
    )
    parser.add_argument(
        "--warm-up", type=zero_or_more, default=1.0, metavar="SECONDS", help="load it first, uncounted (default: 1)"
    )
    parser.add_argument(
        "--seed", type=int, default=1, metavar="N", help="of the random times and of made-up texts (default: 1)"
    )


def _add_text_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--texts", type=Path, metavar="FILE", help="a text a line, used round and round (default: 512 made-up ones)"
    )
    parser.add_argument(
        "--batch-size",
        type=at_least_one,
        default=1,
        metavar="TEXTS",
        help="texts, or rows, in one request (default: 1)",
    )
    parser.add_argument(
        "--max-tokens",
        type=at_least_one,
        default=64,
        metavar="N",
        help="a model that writes writes so many, neither less nor more (default: 64)",
    )


def _bench(arguments: argparse.Namespace) -> None:
    if arguments.plot:
        from loquor.cli.plot import check_plot

        check_plot(arguments.plot)
    report = _run(_measure(arguments))
    if arguments.json:
        write_json(report.as_json())
    else:
        print(report.as_text())
    if arguments.plot:
        from loquor.cli.plot import draw

        draw(report, arguments.plot)
    if not report.answered:
        raise Failure("no request was answered")


async def _measure(arguments: argparse.Namespace) -> Report:
    asked = arguments.model
    try:
        client = loquor.AsyncClient(**connection.settings(arguments), retry=None)
    except ValueError as error:
        raise Failure(str(error), USAGE) from None
    async with client:
        model = await client.get_model(asked.name, version=asked.version)
        call = workload.make_call(client, model, asked, _workload(arguments))
        await load.Run(call, load.Bounds(arguments.warm_up, arguments.requests)).closed_loop(arguments.concurrency)
        run = load.Run(call, load.Bounds(arguments.duration, arguments.requests))
        watching = asyncio.create_task(_watch(run, arguments.duration))
        try:
            await _loop(run, arguments)
        finally:
            watching.cancel()
        return Report(_title(arguments, model), run.samples, run.elapsed)


def _loop(run: load.Run, arguments: argparse.Namespace) -> Coroutine[Any, Any, None]:
    if arguments.rate is None:
        return run.closed_loop(arguments.concurrency)
    return run.open_loop(arguments.rate, _MOST_UNDER_WAY, arguments.seed)


async def _watch(run: load.Run, seconds: float) -> None:
    with Progress(unit="s") as progress:
        while True:
            progress.show("bench", round(min(run.elapsed, seconds), 1), seconds)
            await asyncio.sleep(_PROGRESS_SECONDS)


def _workload(arguments: argparse.Namespace) -> workload.Workload:
    return workload.Workload(_texts(arguments), arguments.batch_size, arguments.max_tokens)


def _texts(arguments: argparse.Namespace) -> list[str]:
    if arguments.texts is None:
        return workload.made_up_texts(arguments.seed)
    lines = [line for line in arguments.texts.read_text(encoding="utf-8").splitlines() if line]
    if not lines:
        raise Failure(f"{arguments.texts}: holds no text")
    return lines


def _title(arguments: argparse.Namespace, model: loquor.Model) -> str:
    loop = f"{arguments.rate:g} requests/s" if arguments.rate else f"{arguments.concurrency} callers"
    what = "rows" if model.task is loquor.Task.INFER else "texts"
    size = f", {arguments.batch_size} {what} a request" if arguments.batch_size > 1 else ""
    return f"{model.name} version {model.version} ({model.task}): {loop}{size}"


def _run(measuring: Coroutine[Any, Any, Report]) -> Report:
    """On uvloop if it is there, which leaves more of the machine to the server."""
    try:
        import uvloop
    except ModuleNotFoundError:
        return asyncio.run(measuring)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(measuring)
