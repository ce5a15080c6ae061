"""The archive that `torch.export.save` writes, read without what PyTorch would run when it loads it.

PyTorch's own loader unpickles the sample inputs and every weight marked so, evaluates the size expressions as Python,
and compiles the guards. Here an archive may hold plain weights and one graph of known operators, its expressions are
sums and products of sizes, and sample inputs and guards are left out. It knows no tensor: the graph is data to it.
"""

import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from loquor.internal.graph_names import GraphNameError, check_names

_MEMBERS = {
    "graph": re.compile(r"models/[^/]+\.json"),
    "payloads": re.compile(r"data/(weights/[^/]+_weights|constants/[^/]+_constants)_config\.json"),
    "data": re.compile(r"data/(weights/weight|constants/tensor)_[0-9]+"),
    "sample": re.compile(r"data/sample_inputs/[^/]+\.pt"),
    "mark": re.compile(r"archive_format|archive_version|byteorder|\.data/[a-z_]+|\.[a-z_]+"),
}
_PAYLOAD = re.compile(r"(weight|tensor)_[0-9]+")
_NAME = r"[A-Za-z][A-Za-z0-9_]*|_[A-Za-z0-9][A-Za-z0-9_]*|__[a-z]+__"
_OPERATOR = re.compile(
    rf"torch\.ops\.(aten|prims|quantized_decomposed)\.({_NAME})(\.({_NAME}))?"
    r"|torch\.ops\.higher_order\.(cond|while_loop|map_impl|scan|associative_scan|wrap_with_(set_grad_enabled|autocast))"
    r"|_operator\.(add|sub|mul|mod|pow|neg|pos|truediv|floordiv|lshift|rshift|and_|or_|not_|eq|ne|lt|le|gt|ge|getitem)"
    r"|math\.(ceil|floor|trunc|sqrt)|torch\.sym_(int|float|ite|max|min|not|sum)"
)
# The only one of PyTorch's own operators that opens a file.
_FILE_OPERATOR = "torch.ops.aten.from_file"
_TOKEN = re.compile(r"\s*(?:('[A-Za-z_][A-Za-z0-9_]*')|([A-Za-z_][A-Za-z0-9_]*)|[0-9]+(?:\.[0-9]*)?|[()+*/,=<>-])\s*")
_SIZE_NAME = re.compile(r"[a-z]{1,3}[0-9]+")
_FUNCTIONS = frozenset(
    {
        "Symbol",
        "Integer",
        "Rational",
        "Float",
        "Add",
        "Mul",
        "Pow",
        "Mod",
        "Min",
        "Max",
        "Abs",
        "And",
        "Or",
        "Not",
        "Eq",
    }
    | {"Ne", "Equality", "Unequality", "LessThan", "GreaterThan", "StrictLessThan", "StrictGreaterThan", "FloorDiv"}
    | {"ModularIndexing", "Where", "PythonMod", "CleanDiv", "CeilToInt", "FloorToInt", "CeilDiv", "LShift", "RShift"}
    | {"PowByNatural", "FloatPow", "FloatTrueDiv", "IntTrueDiv", "TruncToFloat", "TruncToInt", "RoundToInt"}
    | {"RoundDecimal", "ToFloat", "Identity", "floor", "ceiling", "True", "False", "true", "false", "oo", "int_oo"}
    | {"positive", "nonnegative", "negative", "nonzero", "integer", "real", "precision"}
)
_TEXTS = frozenset({"target", "as_operator", "expr_str"})


class ArchiveError(ValueError):
    """The archive cannot be served. The text says which part of it; the caller knows the file's name."""


def check_archive(path: Path) -> None:
    """Raise `ArchiveError` unless the archive can be loaded without running anything in it. Reads no weight."""
    with _opened(path) as archive:
        for kind, member in _members(archive):
            if kind in ("graph", "payloads"):
                _document(archive, kind, member)


def read_archive(path: Path) -> io.BytesIO:
    """The archive for `torch.export.load`, written anew from what was checked. Raises `ArchiveError`."""
    safe = io.BytesIO()
    with _opened(path) as archive, zipfile.ZipFile(safe, "w", zipfile.ZIP_STORED) as target:
        for kind, member in _members(archive):
            target.writestr(member.filename, _content(archive, kind, member))
    safe.seek(0)
    return safe


def _opened(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        raise ArchiveError("not an archive of torch.export.save, or cut short") from None


def _members(archive: zipfile.ZipFile) -> Iterator[tuple[str, zipfile.ZipInfo]]:
    """Every member with its kind, below the one folder that the archive begins with."""
    members = archive.infolist()
    names = [member.filename for member in members]
    root = names[0].partition("/")[0] + "/" if names else ""
    if len(set(names)) != len(names):
        raise ArchiveError("a member stands in it twice")
    kinds = [_kind(name, root) for name in names]
    if kinds.count("graph") != 1:
        raise ArchiveError("holds not one graph but another number of them")
    for member in members:
        if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
            raise ArchiveError(f"{_shown(member.filename)} is compressed, as torch.export.save never writes it")
    return zip(kinds, members, strict=True)


def _kind(name: str, root: str) -> str:
    inside = name.removeprefix(root)
    for kind, pattern in _MEMBERS.items():
        if name.startswith(root) and pattern.fullmatch(inside):
            return kind
    raise ArchiveError(
        f"{_shown(name)} is no weight and no graph: custom objects, pickles and compiled code are refused"
    )


def _content(archive: zipfile.ZipFile, kind: str, member: zipfile.ZipInfo) -> bytes:
    if kind == "sample":
        return b""
    if kind in ("graph", "payloads"):
        return json.dumps(_document(archive, kind, member)).encode()
    return _read(archive, member)


def _document(archive: zipfile.ZipFile, kind: str, member: zipfile.ZipInfo) -> dict[str, Any]:
    try:
        document = json.loads(_read(archive, member))
    except (ValueError, RecursionError):
        raise ArchiveError(f"{_shown(member.filename)} is not JSON") from None
    if not isinstance(document, dict):
        raise ArchiveError(f"{_shown(member.filename)} is not an object")
    if kind == "payloads":
        _check_payloads(document)
        return document
    _check_graph(document)
    document["guards_code"] = []
    try:
        check_names(document)
    except GraphNameError as error:
        raise ArchiveError(str(error)) from None
    return document


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    try:
        return archive.read(member)
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError):
        raise ArchiveError(f"{_shown(member.filename)} is damaged") from None


def _check_payloads(document: dict[str, Any]) -> None:
    entries = document.get("config")
    for name, entry in entries.items() if isinstance(entries, dict) else [("config", None)]:
        if not isinstance(entry, dict) or entry.get("use_pickle") is not False:
            raise ArchiveError(
                f"the weight {_shown(name)} is a pickle, which is refused; only plain tensors are served"
            )
        if not isinstance(path := entry.get("path_name"), str) or not _PAYLOAD.fullmatch(path):
            raise ArchiveError(f"the weight {_shown(name)} is a custom object, which is refused")


def _check_graph(document: Any) -> None:
    """Walks with a list of its own, since a graph nests as deep as its file says."""
    rest = [("", document)]
    while rest:
        key, value = rest.pop()
        if isinstance(value, dict):
            rest.extend(value.items())
            _check_object(key, value)
        elif isinstance(value, list):
            rest.extend(("", item) for item in value)
        elif isinstance(value, str):
            _check_text(key, value)
        if key in _TEXTS and not isinstance(value, str):
            raise ArchiveError(f"the graph holds a {key} that is no text")


def _check_object(key: str, value: dict[str, Any]) -> None:
    if key == "custom_obj_values" and value:
        raise ArchiveError("the graph uses custom objects, which are refused")
    if key == "range_constraints":
        for expression, bounds in value.items():
            _check_expression(expression)
            if not isinstance(bounds, dict) or any(isinstance(bound, str) for bound in bounds.values()):
                raise ArchiveError(f"the bounds of the size {_shown(expression)} are no numbers")


def _check_text(key: str, value: str) -> None:
    if key in ("target", "as_operator") and (not _OPERATOR.fullmatch(value) or value.startswith(_FILE_OPERATOR)):
        raise ArchiveError(f"the operator {_shown(value)} is none of those that are served")
    if key == "expr_str":
        _check_expression(value)


def _check_expression(text: str) -> None:
    position = 0
    while position < len(text):
        token = _TOKEN.match(text, position)
        name = token[2] if token else None
        if token is None or (name and name not in _FUNCTIONS and not _SIZE_NAME.fullmatch(name)):
            raise ArchiveError(f"the size {_shown(text)} is not a plain expression")
        position = token.end()


def _shown(text: str) -> str:
    return repr(text[:200])
