"""A model by the name and version of a request."""

from loquor_server.catalog import Catalog
from loquor_server.errors import InvalidArgument
from loquor_server.served_model import ServedModel


def find_model(catalog: Catalog, name: str, version: str) -> ServedModel:
    """The version that is served if `version` is empty.

    Raises `InvalidArgument`, `ModelNotFound`, or `Unavailable` if it is not loaded.
    """
    if not name:
        raise InvalidArgument("model_name", "must name a model")
    return catalog.find(name, read_version(version))


def read_version(version: str) -> int | None:
    if not version:
        return None
    if not (version.isascii() and version.isdigit() and len(version) < 19):
        raise InvalidArgument("model_version", f"{version[:32]!r} is not a whole number")
    return int(version)
