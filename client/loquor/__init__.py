"""Loquor's client: texts in; text, vectors, labels and spans out, over gRPC.

    import loquor

    with loquor.Client("127.0.0.1:8001") as client:
        for delta in client.stream("smollm2", "Once upon a time", max_tokens=50):
            print(delta.text, end="", flush=True)

        result = client.embed("minilm", ["The quick brown fox", "A lazy dog"])
        print(len(result[0]), "dimensions,", result.usage.prompt_tokens, "tokens")

`AsyncClient` has the same methods, awaited. Everything that a call can raise is a `LoquorError`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from loquor._public import *  # noqa: F403 - the names are that module's
else:

    def __getattr__(name: str) -> Any:
        # Not before it is asked for: server and workers want `loquor.internal` alone, and start sooner.
        public = import_module("loquor._public")
        if name in public.__all__ or name == "__all__":
            return getattr(public, name)
        raise AttributeError(f"module 'loquor' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *import_module("loquor._public").__all__]
