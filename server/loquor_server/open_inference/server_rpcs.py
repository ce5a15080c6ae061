"""What a client may ask about the server: whether it lives, whether it is ready, what it is."""

from collections.abc import Callable

from loquor_server.caller import Caller
from loquor_server.inference import open_inference_pb2 as oip

NAME = "loquor"
# Triton's names. What is left out is refused: sequences, traces and shared memory.
EXTENSIONS = (
    "classification",
    "model_repository",
    "model_repository(unload_dependents)",
    "schedule_policy",
    "model_configuration",
    "parameters",
    "statistics",
    "logging",
)


class ServerRpcs:
    """The behaviours of these methods."""

    def __init__(self, version: str, is_ready: Callable[[], bool]) -> None:
        self._version = version
        self._is_ready = is_ready

    async def live(self, _request: oip.ServerLiveRequest, _caller: Caller) -> oip.ServerLiveResponse:
        return oip.ServerLiveResponse(live=True)

    async def ready(self, _request: oip.ServerReadyRequest, _caller: Caller) -> oip.ServerReadyResponse:
        return oip.ServerReadyResponse(ready=self._is_ready())

    async def metadata(self, _request: oip.ServerMetadataRequest, _caller: Caller) -> oip.ServerMetadataResponse:
        return oip.ServerMetadataResponse(name=NAME, version=self._version, extensions=EXTENSIONS)
