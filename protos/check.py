"""Check that the generated code is that of the protos, and that no caller of the last release is broken; `make lint`.

`protos/baseline.binpb` is what the last release promised (`buf build protos -o protos/baseline.binpb`, at a release).
"""

import subprocess
import sys
from pathlib import Path

PROTOS = Path(__file__).resolve().parent
ROOT = PROTOS.parent
GENERATED = ("client/loquor/v1", "client/loquor/internal/v1", "server/loquor_server/inference")


def snapshot() -> dict[str, bytes]:
    files = (path for folder in GENERATED for path in (ROOT / folder).glob("*_pb2*"))
    return {str(path.relative_to(ROOT)): path.read_bytes() for path in files if "__pycache__" not in path.parts}


def main() -> int:
    before = snapshot()
    subprocess.run([ROOT / ".venv-protos/bin/python", PROTOS / "generate.py"], check=True)  # noqa: S603
    after = snapshot()
    stale = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    if stale:
        sys.stderr.write(f"generated code was stale, and is new now: {', '.join(stale)}\n")
        return 1
    buf = Path(sys.executable).with_name("buf")
    return subprocess.run([buf, "breaking", "protos", "--against", "protos/baseline.binpb"], cwd=ROOT).returncode  # noqa: S603


if __name__ == "__main__":
    sys.exit(main())
