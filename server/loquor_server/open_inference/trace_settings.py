"""TraceSetting: the truth that nothing is traced, told in the protocol's terms."""

from loquor_server import errors
from loquor_server.caller import Caller
from loquor_server.catalog import Catalog
from loquor_server.inference import open_inference_pb2 as oip
from loquor_server.open_inference.model_names import find_model

_SETTINGS = {
    "trace_level": ("OFF",),
    "trace_rate": ("0",),
    "trace_count": ("0",),
    "log_frequency": ("0",),
    "trace_file": ("",),
}
_OTHER_NAMES = ("trace_mode",)


class TraceSettings:
    """The behaviour of the method."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def trace_setting(self, request: oip.TraceSettingRequest, _caller: Caller) -> oip.TraceSettingResponse:
        """Clearing a setting, or setting it to what it is, changes nothing and is fine."""
        if request.model_name:
            find_model(self._catalog, request.model_name, "")
        for name in request.settings:
            _check_unchanged(name, tuple(request.settings[name].value))
        response = oip.TraceSettingResponse()
        for name, values in _SETTINGS.items():
            response.settings[name].value.extend(values)
        return response


def _check_unchanged(name: str, values: tuple[str, ...]) -> None:
    if name not in _SETTINGS and name not in _OTHER_NAMES:
        raise errors.InvalidArgument(f"settings[{name[:64]!r}]", "is not a trace setting")
    if values and values != _SETTINGS.get(name):
        raise errors.Unimplemented(f"settings['{name}']: this server does not trace; it can only be cleared")
