"""Generate the Python stubs from the protos; run by `make protos`, in an environment of its own.

The generator is pinned old on purpose: stubs made by it load on every protobuf from 5.29 on, which leaves room for
other packages in a user's environment (docs/decisions/0002).
"""

import sys
from pathlib import Path

from grpc_tools import protoc

PROTOS = Path(__file__).resolve().parent
ROOT = PROTOS.parent


def compile_protos(include: Path, files: list[Path], out: Path, *, stubs: bool) -> None:
    out.mkdir(parents=True, exist_ok=True)
    arguments = ["protoc", f"-I{include}", f"--python_out={out}", f"--pyi_out={out}"]
    if stubs:
        arguments.append(f"--grpc_python_out={out}")
    if protoc.main([*arguments, *map(str, files)]) != 0:
        sys.exit(f"protoc failed on {include}")


def main() -> None:
    compile_protos(PROTOS, sorted((PROTOS / "loquor").rglob("*.proto")), ROOT / "client", stubs=True)
    # Loaded by the server alone, and never in the client: other packages register the same names (docs/decisions/0003).
    inference = PROTOS / "inference"
    compile_protos(
        inference, sorted(inference.glob("*.proto")), ROOT / "server" / "loquor_server" / "inference", stubs=False
    )


if __name__ == "__main__":
    main()
