from typing import Any

import grpc

from loquor_server.inference import open_inference_pb2 as oip

CODES = grpc.StatusCode


async def test_trace_settings_tell_the_truth_and_refuse_to_trace(service: Any) -> None:
    told = await service.call("TraceSetting", oip.TraceSettingRequest(model_name="embedder"))
    assert list(told.settings["trace_level"].value) == ["OFF"]
    clearing = oip.TraceSettingRequest()
    clearing.settings["trace_level"].SetInParent()
    clearing.settings["trace_rate"].value.append("0")
    assert (await service.call("TraceSetting", clearing)).settings == told.settings
    tracing = oip.TraceSettingRequest()
    tracing.settings["trace_level"].value.append("TIMESTAMPS")
    code, message = await service.refused("TraceSetting", tracing)
    assert (code, "does not trace" in message) == (CODES.UNIMPLEMENTED, True)
    unknown = oip.TraceSettingRequest()
    unknown.settings["colour"].value.append("red")
    assert (await service.refused("TraceSetting", unknown))[0] is CODES.INVALID_ARGUMENT
    assert (await service.refused("TraceSetting", oip.TraceSettingRequest(model_name="x")))[0] is CODES.NOT_FOUND
