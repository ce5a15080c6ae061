"""`loquor`: the command line. `serve` goes straight to the server, which starts sooner without the rest."""

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status, which `loquor --help` explains."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    if given[:1] == ["serve"]:
        from loquor.cli.serve import serve

        return serve(given[1:])
    from loquor.cli.program import run

    return run(given)


if __name__ == "__main__":
    sys.exit(main())
