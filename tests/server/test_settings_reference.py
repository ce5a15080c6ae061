"""docs/settings.md says what the settings say."""

import runpy
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_reference_is_up_to_date() -> None:
    reference = runpy.run_path(str(DOCS / "settings_reference.py"))["reference"]()
    assert (DOCS / "settings.md").read_text() == reference
    assert "`--address` | `LOQUOR_ADDRESS` | `127.0.0.1:8001`" in reference
