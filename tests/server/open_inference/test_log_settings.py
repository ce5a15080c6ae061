from typing import Any

import grpc
import pytest

from loquor_server.caller import Caller
from loquor_server.errors import RequestError
from loquor_server.inference import open_inference_pb2 as oip
from loquor_server.open_inference.log_settings import Logging, LogSettings


def _settings(level: str = "info", *, allows_control: bool = True) -> tuple[LogSettings, list[str]]:
    applied: list[str] = []
    return LogSettings(Logging(level, "human", applied.append), allows_control), applied


def _request(**values: Any) -> oip.LogSettingsRequest:
    kinds = {bool: "bool_param", int: "uint32_param", str: "string_param"}
    request = oip.LogSettingsRequest()
    for name, value in values.items():
        setattr(request.settings[name], kinds[type(value)], value)
    return request


async def _ask(settings: LogSettings, **values: Any) -> dict[str, Any]:
    response = await settings.log_settings(_request(**values), Caller("id"))
    return {
        name: getattr(value, value.WhichOneof("parameter_choice") or "") for name, value in response.settings.items()
    }


@pytest.mark.parametrize(
    ("level", "switches"),
    [
        ("debug", (1, True, True, True)),
        ("info", (0, True, True, True)),
        ("warning", (0, False, True, True)),
        ("error", (0, False, False, True)),
    ],
)
async def test_the_level_is_told_as_switches(level: str, switches: tuple[Any, ...]) -> None:
    told = await _ask(_settings(level)[0])
    assert (told["log_verbose_level"], told["log_info"], told["log_warning"], told["log_error"]) == switches
    assert (told["log_file"], told["log_format"]) == ("", "human")


@pytest.mark.parametrize(
    ("before", "values", "after"),
    [
        ("info", {"log_verbose_level": 1}, "debug"),
        ("debug", {"log_verbose_level": 0}, "info"),
        ("debug", {"log_info": False}, "warning"),
        ("info", {"log_warning": False}, "error"),
        ("info", {"log_warning": False, "log_info": False}, "error"),
        ("error", {"log_warning": True}, "warning"),
        ("error", {"log_info": True}, "info"),
        ("error", {"log_info": True, "log_verbose_level": 0}, "info"),
    ],
)
async def test_switches_change_the_level(before: str, values: dict[str, Any], after: str) -> None:
    settings, applied = _settings(before)
    await _ask(settings, **values)
    assert applied == [after]


async def test_what_was_read_can_be_written_back() -> None:
    settings, applied = _settings("warning")
    await _ask(settings, **await _ask(settings))
    assert applied == []


@pytest.mark.parametrize(
    "values",
    [
        {"log_error": False},
        {"log_warning": False, "log_info": True},
        {"log_file": "/tmp/log"},
        {"log_format": "ISO8601"},
        {"log_info": 1},
        {"log_verbose_level": True},
        {"colour": True},
    ],
)
async def test_what_cannot_be_is_refused_and_changes_nothing(values: dict[str, Any]) -> None:
    settings, applied = _settings("debug")
    with pytest.raises(RequestError) as refusal:
        await _ask(settings, **values)
    assert refusal.value.code is grpc.StatusCode.INVALID_ARGUMENT
    assert applied == []


async def test_without_control_the_level_is_told_and_not_changed() -> None:
    settings, applied = _settings(allows_control=False)
    assert (await _ask(settings))["log_info"] is True
    with pytest.raises(RequestError) as refusal:
        await _ask(settings, log_info=False)
    assert refusal.value.code is grpc.StatusCode.PERMISSION_DENIED
    assert applied == []


async def test_the_level_changes_over_the_wire(service: Any) -> None:
    request = oip.LogSettingsRequest()
    request.settings["log_verbose_level"].uint32_param = 2
    told = await service.call("LogSettings", request)
    assert told.settings["log_verbose_level"].uint32_param == 1
    assert service.levels == ["debug"]
