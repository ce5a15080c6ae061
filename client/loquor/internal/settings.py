"""Settings of a process, from flags, the environment and a TOML file into one frozen dataclass.

A field made by `setting` is a flag `--like-this`, an environment variable `LOQUOR_LIKE_THIS` and a key `like_this` of
the file, in that order of precedence; its default is written once, in the dataclass. An unknown or malformed setting
raises `SettingsError` with its name. It knows nothing of what the settings mean.
"""

import argparse
import dataclasses
import os
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

T = TypeVar("T")


class SettingsError(Exception):
    """A setting that cannot be used. The text names the setting, where it came from and what it takes."""


def setting(
    default: Any, help: str, *, choices: Sequence[str] = (), minimum: float | None = None, maximum: float | None = None
) -> Any:
    """A dataclass field with what a flag needs. `help` says the unit and what a larger value costs."""
    metadata = {"help": help, "choices": tuple(choices), "minimum": minimum, "maximum": maximum}
    return dataclasses.field(default=default, metadata=metadata)


def load(
    cls: type[T],
    arguments: Sequence[str],
    environment: Mapping[str, str],
    *,
    program: str,
    description: str,
    epilog: str = "",
    tables: Sequence[str] = (),
) -> tuple[T, dict[str, Any]]:
    """Make the dataclass `cls`, and return with it the TOML tables named in `tables`, unread.

    A name of `tables` whose value is no table is a setting like any other.

    The file is `--config`, or `LOQUOR_CONFIG`, or `loquor.toml` in the working directory if there is one. Exits as
    argparse does on `--help` and on an unknown flag.
    """
    flags = vars(_parser(cls, program, description, epilog).parse_args(arguments))
    named = flags.pop("config") or environment.get("LOQUOR_CONFIG")
    document = _read_toml(Path(named or "loquor.toml"), required=named is not None)
    rest = {name: document.pop(name) if isinstance(document.get(name), dict) else {} for name in tables}
    return from_layers(cls, _from_document(cls, document), _from_environment(cls, environment), flags), rest


def load_flags(cls: type[T], arguments: Sequence[str], *, program: str, description: str | None) -> T:
    """Make the dataclass `cls` from flags alone, for a process that another one starts."""
    flags = vars(_parser(cls, program, description or "", "").parse_args(arguments))
    del flags["config"]
    return from_layers(cls, flags)


def from_layers(cls: type[T], *layers: Mapping[str, Any]) -> T:
    """Make the dataclass from mappings of converted values; a later mapping wins, and None means absent."""
    values = {name: value for layer in layers for name, value in layer.items() if value is not None}
    return cls(**values)


def convert(cls: type, values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Values as they stand in a TOML document to those of the fields of `cls`; `where` goes into an error's text."""
    fields = {field.name: field for field in dataclasses.fields(cls)}
    hints = get_type_hints(cls)
    converted = {}
    for name, value in values.items():
        if name not in fields:
            raise SettingsError(f"{where}: unknown setting {name!r}; known are {', '.join(sorted(fields))}")
        converted[name] = _checked(fields[name], hints[name], value, f"{where}: {name}")
    return converted


def describe(cls: type) -> list[tuple[str, str, str, str]]:
    """Flag, environment variable, default and help of each field, for `--help` and the reference."""
    return [
        (_flag(field.name), _variable(field.name), _shown(field.default), _with_choices(field))
        for field in dataclasses.fields(cls)
    ]


def _with_choices(field: "dataclasses.Field[Any]") -> str:
    choices = field.metadata["choices"]
    return f"{field.metadata['help']} ({', '.join(choices)})" if choices else str(field.metadata["help"])


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _variable(name: str) -> str:
    return "LOQUOR_" + name.upper()


def _shown(default: Any) -> str:
    if isinstance(default, bool):
        return "true" if default else "false"
    if isinstance(default, tuple):
        return ",".join(default)
    return str(default)


def _parser(cls: type, program: str, description: str, epilog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program, description=description, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", metavar="FILE", help="settings file (TOML); default: loquor.toml, if there is one")
    hints = get_type_hints(cls)
    for field in dataclasses.fields(cls):
        text = f"{field.metadata['help']} (default: {_shown(field.default) or 'empty'})"
        kind = _argument_type(field, hints[field.name])
        metavar = "{" + ",".join(field.metadata["choices"]) + "}" if field.metadata["choices"] else None
        parser.add_argument(_flag(field.name), type=kind, default=None, metavar=metavar, help=text.replace("%", "%%"))
    return parser


def _argument_type(field: "dataclasses.Field[Any]", hint: Any) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        try:
            return _from_text(field, hint, text, _flag(field.name))
        except SettingsError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parse


def _from_environment(cls: type, environment: Mapping[str, str]) -> dict[str, Any]:
    hints = get_type_hints(cls)
    return {
        field.name: _from_text(field, hints[field.name], environment[variable], variable)
        for field in dataclasses.fields(cls)
        if (variable := _variable(field.name)) in environment
    }


def _from_document(cls: type, document: Mapping[str, Any]) -> dict[str, Any]:
    return convert(cls, document, "loquor.toml")


def _from_text(field: "dataclasses.Field[Any]", hint: Any, text: str, where: str) -> Any:
    value: Any = text
    try:
        if hint is bool:
            value = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[text.lower()]
        elif hint in (int, float):
            value = hint(text)
        elif hint == tuple[str, ...]:
            value = [part.strip() for part in text.split(",") if part.strip()]
    except (ValueError, KeyError):
        raise SettingsError(f"{where}: {text!r} is not {_kind(hint)}") from None
    return _checked(field, hint, value, where)


def _checked(field: "dataclasses.Field[Any]", hint: Any, value: Any, where: str) -> Any:
    value = _typed(hint, value, where)
    choices, minimum, maximum = (field.metadata.get(key) for key in ("choices", "minimum", "maximum"))
    if choices and value not in choices:
        raise SettingsError(f"{where}: {value!r} is none of {', '.join(choices)}")
    if hint is float and not abs(value) < float("inf"):
        raise SettingsError(f"{where}: {value} is not a finite number")
    if minimum is not None and value < minimum:
        raise SettingsError(f"{where}: {value} is less than {minimum}")
    if maximum is not None and value > maximum:
        raise SettingsError(f"{where}: {value} is more than {maximum}")
    return value


def _typed(hint: Any, value: Any, where: str) -> Any:
    if hint is Path and isinstance(value, str):
        return Path(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint == tuple[str, ...] and isinstance(value, list) and all(isinstance(part, str) for part in value):
        return tuple(value)
    if hint in (str, int, float, bool) and type(value) is hint:
        return value
    raise SettingsError(f"{where}: {value!r} is not {_kind(hint)}")


def _kind(hint: Any) -> str:
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", Path: "a path"}
    return names.get(hint, "a list of texts")


def _read_toml(path: Path, *, required: bool) -> dict[str, Any]:
    if not required and not path.exists():
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: {os.strerror(error.errno or 0)}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: {error}") from None
