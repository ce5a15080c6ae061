"""What a client may ask about models: readiness, metadata, configuration, statistics."""

from collections.abc import Iterator

from loquor_server.caller import Caller
from loquor_server.catalog import Catalog
from loquor_server.errors import RequestError
from loquor_server.inference import open_inference_pb2 as oip
from loquor_server.open_inference.model_config import config_of, metadata_of
from loquor_server.open_inference.model_names import find_model, read_version
from loquor_server.open_inference.statistics import InferenceStatistics
from loquor_server.served_model import ServedModel


class ModelRpcs:
    """The behaviours of these methods."""

    def __init__(self, catalog: Catalog, statistics: InferenceStatistics) -> None:
        self._catalog = catalog
        self._statistics = statistics

    async def ready(self, request: oip.ModelReadyRequest, _caller: Caller) -> oip.ModelReadyResponse:
        """False for a model that is not there, since clients ask until it is."""
        try:
            model = find_model(self._catalog, request.name, request.version)
        except RequestError:
            return oip.ModelReadyResponse(ready=False)
        return oip.ModelReadyResponse(ready=model.ready)

    async def metadata(self, request: oip.ModelMetadataRequest, _caller: Caller) -> oip.ModelMetadataResponse:
        model = find_model(self._catalog, request.name, request.version)
        return metadata_of(model, sorted(served.version for served in self._served(model.name)))

    async def config(self, request: oip.ModelConfigRequest, _caller: Caller) -> oip.ModelConfigResponse:
        return oip.ModelConfigResponse(config=config_of(find_model(self._catalog, request.name, request.version)))

    async def statistics(self, request: oip.ModelStatisticsRequest, _caller: Caller) -> oip.ModelStatisticsResponse:
        version = read_version(request.version)
        if request.name:
            find_model(self._catalog, request.name, request.version)
        asked = [model for model in self._served(request.name) if version in (None, model.version)]
        response = oip.ModelStatisticsResponse()
        for model in sorted(asked, key=lambda model: (model.name, model.version)):
            response.model_stats.append(self._statistics.message(model.name, model.version))
        return response

    def _served(self, name: str) -> Iterator[ServedModel]:
        return (model for model in self._catalog.models() if name in ("", model.name))
