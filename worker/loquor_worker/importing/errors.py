"""What can go wrong while a model is brought into a repository. Every text is one for the operator.

ImportFailed            the files are refused, do not load, or cannot be written
├── UnknownModel        no known model has this name
├── DownloadFailed      the package cannot be had, or is not the one that is known
└── ConversionFailed    its files cannot be converted
"""


class ImportFailed(Exception):
    """Nothing was published, and nothing of the attempt is left in the repository."""


class UnknownModel(ImportFailed):
    """No known model has this name; the text lists those that are."""


class DownloadFailed(ImportFailed):
    """The package cannot be had, or its content has not the SHA-256 sum that is known."""


class ConversionFailed(ImportFailed):
    """The package's files cannot be converted, or the extra that reads them is not installed."""
