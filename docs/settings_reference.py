"""Write docs/settings.md from the settings themselves: `python docs/settings_reference.py`. A test compares."""

from pathlib import Path

from loquor.internal import settings
from loquor_server.config import ServerConfig

_HEAD = """\
# Settings of `loquor serve`

Each is a flag, an environment variable and a key of `loquor.toml` (the file that `--config` or `LOQUOR_CONFIG` names,
or the one in the working directory), in that order of precedence. The key is the flag without its dashes in front, and
with `_` for `-`. An unknown or malformed setting stops the program with its name. `[models.NAME]` tables hold the
settings of one model; [models.md](models.md) lists their keys.

| flag | environment | default | what it is |
|---|---|---|---|
"""


def reference() -> str:
    rows = settings.describe(ServerConfig)
    lines = [
        f"| `{flag}` | `{variable}` | {f'`{default}`' if default else 'empty'} | {text} |"
        for flag, variable, default, text in rows
    ]
    return _HEAD + "\n".join(lines) + "\n"


if __name__ == "__main__":
    (Path(__file__).parent / "settings.md").write_text(reference())
