from collections.abc import Callable
from typing import Any

import grpc
import pytest

from loquor_server.inference import open_inference_pb2 as oip
from loquor_server.served_model import ModelState

CODES = grpc.StatusCode


async def test_the_index_has_every_version_and_its_state(service: Any) -> None:
    service.models["tagger"].state = ModelState.FAILED
    service.models["tagger"].reason = "model.safetensors is cut short"
    service.models["doubler"].ready = False
    index = await service.call("RepositoryIndex", oip.RepositoryIndexRequest())
    assert {(m.name, m.version): (m.state, m.reason) for m in index.models} == {
        ("classifier", "1"): ("READY", ""),
        ("doubler", "1"): ("UNAVAILABLE", "no replica is ready"),
        ("embedder", "1"): ("READY", ""),
        ("embedder", "2"): ("UNAVAILABLE", "unloaded"),
        ("tagger", "1"): ("UNAVAILABLE", "model.safetensors is cut short"),
        ("unloaded", "1"): ("UNAVAILABLE", "unloaded"),
        ("writer", "1"): ("READY", ""),
    }
    ready = await service.call("RepositoryIndex", oip.RepositoryIndexRequest(ready=True))
    assert [model.name for model in ready.models] == ["classifier", "embedder", "writer"]


async def test_loading_and_unloading(service: Any) -> None:
    await service.call("RepositoryModelLoad", oip.RepositoryModelLoadRequest(model_name="unloaded"))
    request = oip.RepositoryModelUnloadRequest(model_name="embedder")
    request.parameters["unload_dependents"].bool_param = True
    await service.call("RepositoryModelUnload", request)
    assert (service.catalog.loaded, service.catalog.unloaded) == (["unloaded"], ["embedder"])


@pytest.mark.parametrize("name", ["config", "file:1/model.onnx", "other"])
async def test_models_in_a_load_request_are_refused(service: Any, name: str) -> None:
    request = oip.RepositoryModelLoadRequest(model_name="embedder")
    request.parameters[name].string_param = "{}"
    code, message = await service.refused("RepositoryModelLoad", request)
    assert code is CODES.INVALID_ARGUMENT
    assert f"parameters['{name}']" in message
    assert service.catalog.loaded == []


async def test_without_control_nothing_is_loaded_or_changed(start: Callable[..., Any]) -> None:
    service = await start(allows_control=False)
    logs = oip.LogSettingsRequest()
    logs.settings["log_info"].bool_param = False
    for method, request in (
        ("RepositoryModelLoad", oip.RepositoryModelLoadRequest(model_name="embedder")),
        ("RepositoryModelUnload", oip.RepositoryModelUnloadRequest(model_name="embedder")),
        ("LogSettings", logs),
    ):
        assert (await service.refused(method, request))[0] is CODES.PERMISSION_DENIED
    assert (service.catalog.loaded, service.catalog.unloaded, service.levels) == ([], [], [])
