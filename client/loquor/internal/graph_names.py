"""Refuses an exported graph with names that are no names.

PyTorch writes a graph as Python source when it loads it, with the graph's names as they are in the file: a name such as
`x=__import__('os').system('...')` would be run. `tensor_archive` checks the archive, its operators and its sizes; this
module checks every other text of the graph. docs/decisions/0006 says what was tried.
"""

import json
import re
from typing import Any

_NAME = re.compile(r"[A-Za-z0-9_.]*")
# Texts that never become source: strings given to operators are quoted, and metadata is kept for messages alone.
_QUOTED = frozenset({"as_string", "as_strings", "metadata", "torch_version"})
# Checked by `tensor_archive`.
_EXPRESSIONS = frozenset({"expr_str", "range_constraints", "target", "as_operator"})
# JSON within JSON.
_NESTED = frozenset({"in_spec", "out_spec", "context"})


class GraphNameError(ValueError):
    """A text that could be more than a name. The text of the error says which."""


def check_names(document: Any) -> None:
    """Raise `GraphNameError` for the first text of the graph that could be more than a name."""
    # With a list of its own, since a graph nests as deep as its file says.
    rest = [("", document)]
    while rest:
        key, value = rest.pop()
        if key in _QUOTED or key in _EXPRESSIONS:
            continue
        if isinstance(value, dict):
            _check(value)
            rest.extend(value.items())
        elif isinstance(value, list):
            rest.extend((key, item) for item in value)
        elif isinstance(value, str) and key in _NESTED and value:
            rest.append(("", _nested(key, value)))
        elif isinstance(value, str):
            _check([value])


def _nested(key: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise GraphNameError(f"the graph's {key} is not JSON") from None


def _check(names: Any) -> None:
    for name in names:
        if not _NAME.fullmatch(name):
            raise GraphNameError(f"the graph holds the name {name[:200]!r}; letters, digits, _ and . are served")
