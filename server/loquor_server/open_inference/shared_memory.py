"""Shared memory regions, refused by decision: what a client hears of them.

A region is memory of the server's machine, named by a client and then read and written by the server in its name.
Loquor opens nothing that a client names. Clean-up code, which asks for the regions and drops them all, works.
"""

from collections.abc import Iterable

from loquor_server import errors
from loquor_server.caller import Caller
from loquor_server.inference import open_inference_pb2 as oip

_WHY = (
    "shared memory is not supported, by decision: this server does not open memory that a client names, "
    "since it would then read and write it with its own rights; send the tensors in the request"
)


class RegionNotFound(errors.RequestError):
    status = "NOT_FOUND"


def refuse_parameters(names: Iterable[str], field: str) -> None:
    """Raises `Unimplemented` if the parameters of a tensor place it in a region."""
    if any(name.startswith("shared_memory_") for name in names):
        raise errors.Unimplemented(f"{field}: {_WHY}")


async def system_status(
    request: oip.SystemSharedMemoryStatusRequest, _caller: Caller
) -> oip.SystemSharedMemoryStatusResponse:
    _refuse_region(request.name)
    return oip.SystemSharedMemoryStatusResponse()


async def cuda_status(
    request: oip.CudaSharedMemoryStatusRequest, _caller: Caller
) -> oip.CudaSharedMemoryStatusResponse:
    _refuse_region(request.name)
    return oip.CudaSharedMemoryStatusResponse()


async def system_register(
    _request: oip.SystemSharedMemoryRegisterRequest, _caller: Caller
) -> oip.SystemSharedMemoryRegisterResponse:
    raise errors.Unimplemented(_WHY)


async def cuda_register(
    _request: oip.CudaSharedMemoryRegisterRequest, _caller: Caller
) -> oip.CudaSharedMemoryRegisterResponse:
    raise errors.Unimplemented(_WHY)


async def system_unregister(
    _request: oip.SystemSharedMemoryUnregisterRequest, _caller: Caller
) -> oip.SystemSharedMemoryUnregisterResponse:
    return oip.SystemSharedMemoryUnregisterResponse()


async def cuda_unregister(
    _request: oip.CudaSharedMemoryUnregisterRequest, _caller: Caller
) -> oip.CudaSharedMemoryUnregisterResponse:
    return oip.CudaSharedMemoryUnregisterResponse()


def _refuse_region(name: str) -> None:
    if name:
        raise RegionNotFound(f"no shared memory region {name[:64]!r} is registered; none can be")
