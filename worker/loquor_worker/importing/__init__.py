"""Bringing models into a repository: from a Hugging Face folder, a GGUF file, or the packages of known models.

`import_folder`, `import_gguf`, `pull` and `known_models` are all that the command line needs. Nothing here runs
a model's own code.
"""

from loquor_worker.importing.catalogue import KnownModel, known_models
from loquor_worker.importing.errors import ConversionFailed, DownloadFailed, ImportFailed, UnknownModel
from loquor_worker.importing.folder import import_folder
from loquor_worker.importing.gguf_file import import_gguf
from loquor_worker.importing.pull import pull

__all__ = [
    "ConversionFailed",
    "DownloadFailed",
    "ImportFailed",
    "KnownModel",
    "UnknownModel",
    "import_folder",
    "import_gguf",
    "known_models",
    "pull",
]
