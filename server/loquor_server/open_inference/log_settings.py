"""LogSettings: the server's one log level, told and changed in the protocol's terms.

Triton switches each severity by itself; here a level lets all that is as severe or more through. So switching one off
switches off those below it, and switching one on switches on those above it; the answer says what came of it.
"""

from collections.abc import Callable, Mapping
from typing import Any

from loquor_server.caller import Caller
from loquor_server.errors import InvalidArgument, PermissionDenied
from loquor_server.inference import open_inference_pb2 as oip

# From the least severe; each switch is on at its level and at those before it.
_LEVELS = ("debug", "info", "warning", "error")
_SWITCHES = {"log_verbose_level": "debug", "log_info": "info", "log_warning": "warning", "log_error": "error"}
_KINDS = {
    "log_file": "string_param",
    "log_format": "string_param",
    "log_info": "bool_param",
    "log_warning": "bool_param",
    "log_error": "bool_param",
    "log_verbose_level": "uint32_param",
}


class Logging:
    """The log of this process. A level is debug, info, warning or error; `form` is human or json."""

    def __init__(self, level: str, form: str, apply: Callable[[str], None]) -> None:
        self.level = level
        self.form = form
        self._apply = apply

    def set_level(self, level: str) -> None:
        if level != self.level:
            self._apply(level)
            self.level = level


class LogSettings:
    """The behaviour of the method. `allows_control` is whether callers may change anything."""

    def __init__(self, logging: Logging, allows_control: bool) -> None:
        self._logging = logging
        self._allows_control = allows_control

    async def log_settings(self, request: oip.LogSettingsRequest, _caller: Caller) -> oip.LogSettingsResponse:
        if request.settings:
            self._update({name: _value(name, request.settings[name]) for name in request.settings})
        return self._message()

    def _update(self, values: Mapping[str, Any]) -> None:
        if not self._allows_control:
            raise PermissionDenied("changing the log is off on this server (setting model_control)")
        if values.get("log_file"):
            raise InvalidArgument("settings['log_file']", "must be empty: the log goes to stderr")
        if values.get("log_format", self._logging.form) != self._logging.form:
            raise InvalidArgument("settings['log_format']", f"is {self._logging.form} for the life of the server")
        switched = {level: bool(values[name]) for name, level in _SWITCHES.items() if name in values}
        self._logging.set_level(_level_after(self._logging.level, switched))

    def _message(self) -> oip.LogSettingsResponse:
        rank = _LEVELS.index(self._logging.level)
        response = oip.LogSettingsResponse()
        settings = response.settings
        settings["log_file"].string_param = ""
        settings["log_format"].string_param = self._logging.form
        for name, level in _SWITCHES.items():
            if name == "log_verbose_level":
                settings[name].uint32_param = int(rank == 0)
            else:
                settings[name].bool_param = rank <= _LEVELS.index(level)
        return response


def _level_after(present: str, switched: Mapping[str, bool]) -> str:
    """The level after switching severities on and off. Raises `InvalidArgument` if the switches contradict."""
    on = [_LEVELS.index(level) for level, is_on in switched.items() if is_on]
    off = [_LEVELS.index(level) for level, is_on in switched.items() if not is_on]
    if off and max(off) == len(_LEVELS) - 1:
        raise InvalidArgument("settings['log_error']", "errors are always logged")
    least = max(off, default=-1) + 1
    if on and min(on) < least:
        raise InvalidArgument("settings", "a severity cannot be on while a higher one is off")
    return _LEVELS[max(least, min([*on, _LEVELS.index(present)]))]


def _value(name: str, setting: oip.LogSettingsRequest.SettingValue) -> Any:
    if name not in _KINDS:
        raise InvalidArgument(f"settings[{name[:64]!r}]", "is not a log setting")
    if setting.WhichOneof("parameter_choice") != _KINDS[name]:
        raise InvalidArgument(f"settings[{name!r}]", f"takes {_KINDS[name]}")
    return getattr(setting, _KINDS[name])
