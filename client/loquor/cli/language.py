"""`loquor embed`, `classify` and `tag`: texts in; vectors, labels and spans out."""

import argparse
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from math import hypot
from typing import Any, TypeVar

import loquor
from loquor.cli import connection, texts
from loquor.cli.output import float32, write_json, write_table
from loquor.cli.progress import Progress
from loquor.cli.values import at_least_one, model_and_version

T = TypeVar("T")
A = TypeVar("A")

_EMBED_EPILOG = """\
examples:
  loquor embed minilm "a text" "another"
  loquor embed minilm --file texts.txt --json > vectors.jsonl
  cut -f2 table.tsv | loquor embed minilm --json | gzip > vectors.jsonl.gz

--json prints one object a line: {"index", "tokens", "truncated", "embedding"}.
A file of any length takes little memory.
"""
_CLASSIFY_EPILOG = """\
examples:
  loquor classify sentiment "what a day" --top-k 1
  loquor classify reranker --pair "a question" "an answer"
  loquor classify reranker --pair --file pairs.tsv --json

--json prints one object a line: {"index", "tokens", "truncated", "labels": [{"label", "score"}]}, the best label first.
"""
_TAG_EPILOG = """\
examples:
  loquor tag rampart "My name is Marie Curie, marie@example.org"
  loquor tag rampart --file letters.txt --min-score 0.8 --json

--json prints one object a line: {"index", "tokens", "truncated", "spans": [...]}, each span
{"label", "score", "start", "end", "text"}; start and end count characters (Unicode code points) from 0.
"""


def add_to(commands: Any) -> None:
    """The three commands."""
    embed = _command(commands, "embed", _embed, "a vector for each text", _EMBED_EPILOG)
    embed.add_argument("--normalize", action="store_true", default=None, help="scale each vector to length 1")
    classify = _command(commands, "classify", _classify, "labels with scores for each text or pair", _CLASSIFY_EPILOG)
    classify.add_argument("--pair", action="store_true", help="two texts make an input; in a file, a tab between them")
    classify.add_argument(
        "--top-k", type=at_least_one, metavar="LABELS", help="print so many labels, the best (default: all)"
    )
    classify.add_argument("--raw-scores", action="store_true", help="print logits in place of probabilities")
    tag = _command(commands, "tag", _tag, "labelled spans of each text, such as names", _TAG_EPILOG)
    tag.add_argument(
        "--min-score", type=float, metavar="SCORE", help="leave out spans that score less, 0 to 1 (default: 0)"
    )


def _command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], None], text: str, epilog: str
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=text,
        description=text[0].upper() + text[1:] + ".",
        epilog=epilog,
        parents=[connection.flags()],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    parser.add_argument("model", type=model_and_version, metavar="MODEL", help="name, or name:version")
    texts.add_arguments(parser)
    parser.add_argument("--truncate", action="store_true", help="cut texts that are too long, which are refused else")
    parser.add_argument(
        "--batch-size", type=at_least_one, default=32, metavar="TEXTS", help="texts in one request (default: 32)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, one object a line")
    return parser


def _embed(arguments: argparse.Namespace) -> None:
    with connection.connect(arguments) as client, Progress(unit="text") as progress:
        source, asked = texts.read_texts(arguments), deque[str]()
        total = texts.count_texts(arguments)
        answers = client.embed_many(
            arguments.model.name,
            _noted(source, asked),
            version=arguments.model.version,
            truncate=arguments.truncate,
            normalize=arguments.normalize,
            batch_size=arguments.batch_size,
            progress=lambda done: progress.show("embed", done, total),
        )
        headers = ("tokens", "dimensions", "length", "values", "text")
        _write(arguments, headers, ((asked.popleft(), answer) for answer in answers), _embed_json, _embed_rows)


def _embed_json(answer: loquor.Embedding) -> dict[str, Any]:
    return {"embedding": [float32(value) for value in answer]}


def _embed_rows(text: str, answer: loquor.Embedding) -> Iterator[tuple[object, ...]]:
    values = " ".join(f"{value:+.4f}" for value in answer[:4])
    yield answer.tokens, len(answer), f"{hypot(*answer):.4f}", f"{values} …", text


def _classify(arguments: argparse.Namespace) -> None:
    def call(client: loquor.Client, batch: list[Any]) -> loquor.ClassifyResult:
        return client.classify(
            arguments.model.name,
            batch,
            version=arguments.model.version,
            top_k=arguments.top_k,
            raw_scores=arguments.raw_scores,
            truncate=arguments.truncate,
        )

    inputs: Iterator[Any] = texts.read_texts(arguments)
    if arguments.pair:
        inputs = texts.read_pairs(inputs, by_tab=not arguments.texts)
    total = None if arguments.pair else texts.count_texts(arguments)
    with connection.connect(arguments) as client, Progress(unit="text") as progress:
        answers = _in_batches(inputs, partial(call, client), arguments.batch_size, progress, total)
        _write(arguments, ("label", "score", "text"), answers, _classify_json, _classify_rows)


def _classify_json(answer: loquor.Classification) -> dict[str, Any]:
    return {"labels": [{"label": one.label, "score": float32(one.score)} for one in answer]}


def _classify_rows(item: str | tuple[str, str], answer: loquor.Classification) -> Iterator[tuple[object, ...]]:
    text = item if isinstance(item, str) else " | ".join(item)
    for place, one in enumerate(answer):
        yield one.label, f"{one.score:.4f}", "" if place else text


def _tag(arguments: argparse.Namespace) -> None:
    def call(client: loquor.Client, batch: list[str]) -> loquor.TagTokensResult:
        return client.tag_tokens(
            arguments.model.name,
            batch,
            version=arguments.model.version,
            min_score=arguments.min_score,
            truncate=arguments.truncate,
        )

    inputs, total = texts.read_texts(arguments), texts.count_texts(arguments)
    with connection.connect(arguments) as client, Progress(unit="text") as progress:
        answers = _in_batches(inputs, partial(call, client), arguments.batch_size, progress, total)
        _write(arguments, ("label", "score", "start", "end", "span"), answers, _tag_json, _tag_rows)


def _tag_json(answer: loquor.TaggedText) -> dict[str, Any]:
    return {
        "spans": [
            {"label": one.label, "score": float32(one.score), "start": one.start, "end": one.end, "text": one.text}
            for one in answer
        ]
    }


def _tag_rows(text: str, answer: loquor.TaggedText) -> Iterator[tuple[object, ...]]:
    for one in answer:
        yield one.label, f"{one.score:.4f}", one.start, one.end, one.text


def _noted(source: Iterator[str], asked: deque[str]) -> Iterator[str]:
    """Keeps each text until its answer is there."""
    for text in source:
        asked.append(text)
        yield text


def _in_batches(
    inputs: Iterator[T], call: Callable[[list[T]], Iterable[A]], size: int, progress: Progress, total: int | None
) -> Iterator[tuple[T, A]]:
    done = 0
    for batch in texts.batches(inputs, size):
        yield from zip(batch, call(batch), strict=True)
        done += len(batch)
        progress.show("texts", done, total)


def _write(
    arguments: argparse.Namespace,
    headers: tuple[str, ...],
    answers: Iterable[tuple[Any, Any]],
    to_json: Callable[[Any], dict[str, Any]],
    to_rows: Callable[[Any, Any], Iterator[tuple[object, ...]]],
) -> None:
    """JSON as the answers come; a table once all of them are there."""
    if arguments.json:
        for index, (_, answer) in enumerate(answers):
            write_json({"index": index, "tokens": answer.tokens, "truncated": answer.truncated, **to_json(answer)})
        return
    rows = [(index, *row) for index, (item, answer) in enumerate(answers) for row in to_rows(item, answer)]
    write_table(("index", *headers), rows)
