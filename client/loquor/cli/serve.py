"""`loquor serve`: hands over to the server, which reads its own flags."""

import sys
from collections.abc import Sequence
from importlib.util import find_spec

from loquor.cli.status import FAILED, INTERRUPTED

MISSING = "loquor serve needs the server: pip install 'loquor[all]'"


def serve(arguments: Sequence[str]) -> int:
    """Returns once the server has stopped."""
    if find_spec("loquor_server") is None:
        return _missing()
    try:
        from loquor_server.__main__ import main

        return main(arguments)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] in ("loquor", "loquor_server"):
            raise
        return _missing()
    except KeyboardInterrupt:
        return INTERRUPTED


def _missing() -> int:
    print(MISSING, file=sys.stderr)
    return FAILED
