"""What health says of a catalog's models and of the server itself."""

from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2

from loquor_server.health import Health

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


class Model:
    def __init__(self, ready: bool) -> None:
        self.ready = ready


class Catalog:
    """Names, the versions served by default, and what they are."""

    def __init__(self) -> None:
        self.models: dict[str, Model] = {}
        self.loading: set[str] = set()

    def names(self) -> list[str]:
        return [*self.models, *self.loading]

    def default_version(self, name: str) -> int | None:
        return 1 if name in self.models else None

    def find(self, name: str, version: int) -> Model:
        assert version == 1
        return self.models[name]


@pytest.fixture
def catalog() -> Catalog:
    return Catalog()


@pytest.fixture
def health(catalog: Catalog) -> Health:
    untyped: Any = catalog
    return Health(untyped, ["loquor.v1.AnyService"])


class NoContext:
    async def abort(self, code: grpc.StatusCode, *_: object) -> None:
        raise LookupError(code)

    def set_code(self, code: grpc.StatusCode) -> None:
        raise LookupError(code)


async def said(health: Health, *names: str) -> list[int]:
    await health.refresh()
    context: Any = NoContext()
    checks = [health.servicer.Check(health_pb2.HealthCheckRequest(service=name), context) for name in names]
    return [(await check).status for check in checks]


async def test_nothing_is_ready_before_the_start_is_over(health: Health, catalog: Catalog) -> None:
    catalog.models["one"] = Model(ready=True)
    assert await said(health, "", "startup", "live", "one") == [NOT_SERVING, NOT_SERVING, SERVING, SERVING]
    health.started = True
    assert await said(health, "", "ready", "startup", "loquor.v1.AnyService") == [SERVING] * 4


async def test_the_whole_is_as_ready_as_its_models(health: Health, catalog: Catalog) -> None:
    health.started = True
    catalog.models |= {"one": Model(ready=True), "two": Model(ready=False)}
    assert await said(health, "", "one", "two") == [NOT_SERVING, SERVING, NOT_SERVING]
    catalog.models["two"].ready = True
    assert await said(health, "", "one", "two") == [SERVING, SERVING, SERVING]


async def test_a_model_on_its_way_leaves_the_others_ready(health: Health, catalog: Catalog) -> None:
    health.started = True
    catalog.models["one"] = Model(ready=True)
    catalog.loading.add("new")
    assert await said(health, "", "one", "new") == [SERVING, SERVING, NOT_SERVING]


async def test_a_model_that_went_is_said_to_be_gone(health: Health, catalog: Catalog) -> None:
    health.started = True
    catalog.models["one"] = Model(ready=True)
    assert await said(health, "one") == [SERVING]
    del catalog.models["one"]
    assert await said(health, "one", "") == [NOT_SERVING, SERVING]


async def test_a_drain_is_told_of_all_but_life(health: Health, catalog: Catalog) -> None:
    health.started = health.draining = True
    catalog.models["one"] = Model(ready=True)
    assert await said(health, "", "one", "live") == [NOT_SERVING, NOT_SERVING, SERVING]
