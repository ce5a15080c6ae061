"""`grpc.health.v1`, with `Watch`: what is healthy, under which names.

| service name                    | SERVING while                                                             |
|---------------------------------|---------------------------------------------------------------------------|
| "" and "ready"                  | started, not draining, and every model that is served has a ready replica |
| "startup"                       | everything has been ready once                                            |
| "live"                          | the front's event loop turns                                              |
| a model's name                  | its served version has a ready replica, and the server does not drain     |
| each service's full name        | as ""                                                                     |
"""

from collections.abc import Sequence

from grpc_health.v1 import health, health_pb2

from loquor_server.catalog import Catalog

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Health:
    """Follows the catalog and the server's own state."""

    def __init__(self, catalog: Catalog, services: Sequence[str]) -> None:
        self.servicer = health.aio.HealthServicer()
        self.started = False
        self.draining = False
        self._catalog = catalog
        self._overall = ("", "ready", *services)
        self._said: dict[str, int] = {}

    @property
    def ready(self) -> bool:
        """A model that is being loaded for the first time, or could not be, leaves the others as ready as they are."""
        served = [name for name in self._catalog.names() if self._catalog.default_version(name) is not None]
        return self.started and not self.draining and all(self._model_ready(name) for name in served)

    async def refresh(self) -> None:
        """Say what has changed since the last time."""
        now = dict.fromkeys(self._overall, self.ready)
        now |= {"startup": self.started, "live": True}
        now |= {name: self._model_ready(name) and not self.draining for name in self._catalog.names()}
        gone = dict.fromkeys(self._said.keys() - now.keys(), False)
        for name, healthy in (now | gone).items():
            status = _SERVING if healthy else _NOT_SERVING
            if self._said.get(name) != status:
                self._said[name] = status
                await self.servicer.set(name, status)

    def _model_ready(self, name: str) -> bool:
        version = self._catalog.default_version(name)
        return version is not None and self._catalog.find(name, version).ready
