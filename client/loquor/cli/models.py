"""`loquor models`: which there are, fetching and importing them, loading and unloading them."""

import argparse
import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import loquor
from loquor.cli import connection
from loquor.cli.failure import Failure
from loquor.cli.output import write_json, write_table
from loquor.cli.progress import Progress
from loquor.cli.status import USAGE
from loquor.cli.values import at_least_one, model_and_version, more_than_zero

_EPILOG = """\
examples:
  loquor models list                        what the server has, and in what state
  loquor models pull                        the models that pull knows
  loquor models pull minilm rampart         fetch two of them into ./models
  loquor models import ./my-model --name my-model
  loquor models import ./my-model.Q4_K_M.gguf --name my-model
  loquor models load minilm:2               let version 2 take over, without a failed request

list, load and unload ask the server. pull and import write to a folder, and need no server; one that runs sees the new
version with `loquor models load`.
"""

_GGUF = ".gguf"


def add_to(commands: Any) -> None:
    """The group of five."""
    group = commands.add_parser(
        "models",
        help="list, fetch, import, load and unload models",
        description="List, fetch, import, load and unload models.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = group.add_subparsers(title="actions", metavar="ACTION", required=True)
    listing = _action(actions, "list", _list, "every model in the server's repository", [connection.flags()])
    listing.add_argument("--json", action="store_true", help="print JSON, one object a line")
    _add_pull(actions)
    _add_import(actions)
    _add_control(actions, "load", _load, "start a version's workers and let them take over")
    _add_control(actions, "unload", _unload, "answer what is under way, then end the workers and free their memory")


def _action(
    actions: Any, name: str, run: Callable[[argparse.Namespace], None], text: str, parents: list[Any]
) -> argparse.ArgumentParser:
    description = text[0].upper() + text[1:] + "."
    parser: argparse.ArgumentParser = actions.add_parser(name, help=text, description=description, parents=parents)
    parser.set_defaults(run=run)
    return parser


def _add_pull(actions: Any) -> None:
    parser = _action(actions, "pull", _pull, "fetch known models; without a name, say which are known", [])
    parser.add_argument("names", nargs="*", metavar="NAME", help="a known model")
    parser.set_defaults(takes_rest="names")
    _add_repository(parser)


def _add_import(actions: Any) -> None:
    parser = _action(actions, "import", _import, "publish a Hugging Face folder or a GGUF file as a version", [])
    parser.add_argument(
        "path", type=Path, metavar="PATH", help="folder with config.json, *.safetensors, tokenizer.json; or FILE.gguf"
    )
    parser.add_argument("--name", metavar="NAME", help="name of the model (default: the folder's or the file's)")
    parser.add_argument(
        "--version", type=at_least_one, metavar="N", help="its version (default: one more than the newest)"
    )
    parser.add_argument(
        "--dtype",
        choices=("auto", "float32", "float16", "bfloat16"),
        default="auto",
        help="precision of the weights written from a GGUF file (default: auto, which loses nothing)",
    )
    _add_repository(parser)


def _add_repository(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--repository", type=Path, default=Path("models"), metavar="FOLDER", help="where models lie (default: models)"
    )


def _add_control(actions: Any, name: str, run: Callable[[argparse.Namespace], None], text: str) -> None:
    parser = _action(actions, name, run, text, [connection.flags()])
    parser.add_argument("model", type=model_and_version, metavar="MODEL", help="name, or name:version")
    parser.add_argument(
        "--wait-seconds",
        type=more_than_zero,
        default=600.0,
        metavar="SECONDS",
        help="how long it may take, in place of --deadline-seconds (default: 600)",
    )


def _list(arguments: argparse.Namespace) -> None:
    with connection.connect(arguments) as client:
        models = client.list_models()
    if arguments.json:
        for model in models:
            write_json(_as_json(model))
        return
    headers = ("model", "version", "state", "task", "dtype", "devices", "replicas", "restarts", "reason")
    write_table(headers, [_row(model) for model in models])


def _row(model: loquor.Model) -> tuple[object, ...]:
    ready = sum(replica.state is loquor.ReplicaState.READY for replica in model.replicas)
    restarts = sum(replica.restarts for replica in model.replicas)
    known = model.task is not loquor.Task.UNSPECIFIED
    return (
        model.name,
        model.version,
        model.state,
        model.task if known else "-",
        model.dtype or "-",
        ",".join(model.devices) or "-",
        f"{ready}/{len(model.replicas)}",
        restarts,
        model.reason,
    )


def _as_json(model: loquor.Model) -> dict[str, Any]:
    fields = dataclasses.asdict(model)
    for side in ("inputs", "outputs"):
        fields[side] = [{**tensor, "data_type": tensor["data_type"].name} for tensor in fields[side]]
    return fields


def _load(arguments: argparse.Namespace) -> None:
    name, version = arguments.model
    with connection.connect(arguments) as client:
        model = client.load_model(name, version=version, deadline_seconds=arguments.wait_seconds)
    print(f"{model.name} version {model.version} is {model.state}")


def _unload(arguments: argparse.Namespace) -> None:
    name, version = arguments.model
    with connection.connect(arguments) as client:
        client.unload_model(name, version=version, deadline_seconds=arguments.wait_seconds)
    print(f"{name} is unloaded" if version is None else f"{name} version {version} is unloaded")


def _pull(arguments: argparse.Namespace) -> None:
    importing = _importing()
    if not arguments.names:
        rows = [(model.name, model.task, model.licence, model.summary) for model in importing.known_models()]
        write_table(("name", "task", "licence", "summary"), rows)
        return
    for name in arguments.names:
        with Progress(unit="B", scaled=True) as progress, _explained(importing):
            folder = importing.pull(name, arguments.repository, progress=progress.show)
        print(f"{name} is in {folder}")


def _import(arguments: argparse.Namespace) -> None:
    importing = _importing()
    path, is_gguf = arguments.path, arguments.path.suffix.lower() == _GGUF
    name = arguments.name or (path.stem if is_gguf else path.resolve().name)
    if arguments.dtype != "auto" and not is_gguf:
        raise Failure("--dtype is for GGUF files; a folder's weights are published as they are", USAGE)
    with Progress(unit="B", scaled=True) as progress, _explained(importing):
        if is_gguf:
            folder = importing.import_gguf(
                path, arguments.repository, name, arguments.version, precision=arguments.dtype, progress=progress.show
            )
        else:
            folder = importing.import_folder(path, arguments.repository, name, arguments.version)
    print(f"{name} is in {folder}")


@contextmanager
def _explained(importing: Any) -> Iterator[None]:
    try:
        yield
    except importing.UnknownModel as error:
        raise Failure(str(error), USAGE) from None
    except importing.ImportFailed as error:
        raise Failure(str(error)) from None


def _importing() -> Any:
    """The worker's importer, which comes with an extra."""
    try:
        return import_module("loquor_worker.importing")
    except ModuleNotFoundError:
        raise Failure("loquor models pull and import need the worker: pip install 'loquor[all]'") from None
