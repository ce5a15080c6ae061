from typing import Any

import grpc
import pytest

from loquor_server.inference import open_inference_pb2 as oip

CODES = grpc.StatusCode


@pytest.mark.parametrize("kind", ["System", "Cuda"])
async def test_clean_up_of_shared_memory_works_and_registering_is_refused(service: Any, kind: str) -> None:
    def request(verb: str, **fields: Any) -> Any:
        return getattr(oip, f"{kind}SharedMemory{verb}Request")(**fields)

    status = await service.call(f"{kind}SharedMemoryStatus", request("Status"))
    assert not status.regions
    await service.call(f"{kind}SharedMemoryUnregister", request("Unregister"))
    await service.call(f"{kind}SharedMemoryUnregister", request("Unregister", name="mine"))
    assert (await service.refused(f"{kind}SharedMemoryStatus", request("Status", name="mine")))[0] is CODES.NOT_FOUND
    code, message = await service.refused(f"{kind}SharedMemoryRegister", request("Register", name="mine", byte_size=8))
    assert code is CODES.UNIMPLEMENTED
    assert "by decision" in message
