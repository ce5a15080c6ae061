"""Importing a GGUF file: it is converted, checked and published as a version.

It knows nothing of the format.
"""

from pathlib import Path

from loquor_worker.importing.errors import ImportFailed
from loquor_worker.importing.gguf.conversion import convert
from loquor_worker.importing.gguf.weights import Precision
from loquor_worker.importing.packages import Progress, silent
from loquor_worker.importing.publishing import new_version


def import_gguf(
    file: Path,
    repository: Path,
    name: str,
    version: int | None = None,
    *,
    precision: Precision = "auto",
    progress: Progress | None = None,
) -> Path:
    """Publish the model in `file` as `version`, or as the next one, and return the version's folder.

    `progress` is called with what is being done and how many of how many bytes are done. Raises `ImportFailed`, whose
    text names the file and what of it is refused.
    """
    if not file.is_file():
        raise ImportFailed(f"{file}: no such file")
    with new_version(repository, name, version) as building:
        convert(file, building.folder, precision, progress or silent)
    return building.path
