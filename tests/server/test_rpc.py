"""What a caller sees of every ending, and what the log and the metrics are told of it."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from loquor.v1 import language_service_pb2 as api
from loquor_server import errors
from loquor_server.caller import Caller
from loquor_server.rpc import Rpc

SECRET = "words of the caller"


@dataclass
class Observer:
    ends: list[tuple[str, str, str]] = field(default_factory=list)

    def knows(self, model: str) -> bool:
        return model == "known"

    def ended(self, method: str, model: str, code: grpc.StatusCode, seconds: float) -> None:
        assert 0 <= seconds < 10
        self.ends.append((method, model, code.name))


class Behaviour:
    """What the methods do, as a test wants it, and with what caller."""

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self.caller: Caller | None = None
        self.started = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.hold = False

    async def unary(self, request: api.EmbedRequest, caller: Caller) -> api.EmbedResponse:
        self.caller = caller
        self.started.set()
        if self.hold:
            try:
                await asyncio.sleep(10)
            except asyncio.CancelledError:
                self.cancelled.set()
                raise
        if self.error is not None:
            raise self.error
        return api.EmbedResponse(model=request.model)

    async def stream(self, requests: AsyncIterator[api.EmbedRequest], caller: Caller) -> Any:
        self.caller = caller
        async for request in requests:
            yield await self.unary(request, caller)


class Place:
    """A server with one method of each kind."""

    def __init__(self) -> None:
        self.observer, self.behaviour = Observer(), Behaviour()
        self.rpc = Rpc(self.observer, default_deadline_seconds=5.0)

    async def __aenter__(self) -> "Place":
        self.server = grpc.aio.server()
        handlers = {
            "Unary": self.rpc.unary("Unary", api.EmbedRequest, self.behaviour.unary),
            "Stream": self.rpc.streaming("Stream", api.EmbedRequest, self.behaviour.stream),
        }
        self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Service", handlers),))
        port = self.server.add_insecure_port("127.0.0.1:0")
        await self.server.start()
        self.channel: Any = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.channel.close()
        await self.server.stop(0)

    def call(self, data: bytes = b"\x0a\x05known", **options: Any) -> Any:
        return self.channel.unary_unary("/test.Service/Unary")(data, **options)

    def stream(self, **options: Any) -> Any:
        return self.channel.stream_stream("/test.Service/Stream")(**options)


async def refused(call: Any) -> tuple[str, str, dict[str, Any]]:
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await call
    trailer = dict(failure.value.trailing_metadata() or ())
    return failure.value.code().name, failure.value.details() or "", trailer


async def test_an_answer_carries_the_request_id() -> None:
    async with Place() as place:
        call = place.call(metadata=[("x-request-id", "mine-1")])
        assert api.EmbedResponse.FromString(await call).model == "known"
        assert dict(await call.trailing_metadata())["x-request-id"] == "mine-1"
        assert place.observer.ends == [("Unary", "known", "OK")]
        assert place.rpc.under_way == 0


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.InvalidArgument("texts[3]", "is too long"), "INVALID_ARGUMENT"),
        (errors.ModelNotFound("none"), "NOT_FOUND"),
        (errors.FailedPrecondition("cannot"), "FAILED_PRECONDITION"),
        (errors.Overloaded("full", 0.25), "RESOURCE_EXHAUSTED"),
        (errors.DeadlineExceeded("late"), "DEADLINE_EXCEEDED"),
        (errors.Unavailable("away"), "UNAVAILABLE"),
        (errors.Poisoned("twice"), "ABORTED"),
        (errors.PermissionDenied("no"), "PERMISSION_DENIED"),
        (errors.Unimplemented("never"), "UNIMPLEMENTED"),
    ],
)
async def test_every_error_has_its_status_and_its_words(error: errors.RequestError, code: str) -> None:
    async with Place() as place:
        place.behaviour.error = error
        found, details, trailer = await refused(place.call(metadata=[("x-request-id", "mine-2")]))
        assert (found, details, trailer["x-request-id"]) == (code, error.message, "mine-2")
        assert place.observer.ends == [("Unary", "known", code)]


async def test_an_overload_says_when_to_come_back() -> None:
    async with Place() as place:
        place.behaviour.error = errors.Overloaded("full", 1.25)
        _, _, trailer = await refused(place.call())
        status, retry = status_pb2.Status.FromString(trailer["grpc-status-details-bin"]), error_details_pb2.RetryInfo()
        assert status.code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
        assert status.details[0].Unpack(retry)
        assert retry.retry_delay.ToMilliseconds() == 1250
        assert trailer["grpc-retry-pushback-ms"] == "1250"


async def test_a_bad_argument_names_its_field() -> None:
    async with Place() as place:
        place.behaviour.error = errors.InvalidArgument("texts[3]", "is too long")
        _, _, trailer = await refused(place.call())
        status, bad = status_pb2.Status.FromString(trailer["grpc-status-details-bin"]), error_details_pb2.BadRequest()
        assert status.details[0].Unpack(bad)
        assert bad.field_violations[0].field == "texts[3]"


async def test_a_bug_tells_the_caller_nothing() -> None:
    async with Place() as place:
        place.behaviour.error = ValueError(SECRET)
        code, details, _ = await refused(place.call(metadata=[("x-request-id", "mine-3")]))
        assert (code, details) == ("INTERNAL", "internal error; see the log")


async def test_bytes_that_are_no_message_are_the_callers_fault() -> None:
    async with Place() as place:
        code, details, trailer = await refused(place.call(b"\xff\xff"))
        assert code == "INVALID_ARGUMENT"
        assert "DecodeError" not in details
        assert trailer["x-request-id"]
        assert place.observer.ends == [("Unary", "", "INVALID_ARGUMENT")]


async def test_a_name_that_is_no_models_is_not_told_on() -> None:
    async with Place() as place:
        await place.call(api.EmbedRequest(model=SECRET).SerializeToString())
        assert place.observer.ends == [("Unary", "", "OK")]


async def test_the_callers_deadline_or_the_servers_own() -> None:
    async with Place() as place:
        await place.call(timeout=2.0)
        assert place.behaviour.caller is not None
        assert 1.0 < place.behaviour.caller.deadline - time.monotonic() <= 2.1  # gRPC rounds up what it sends
        await place.call()
        assert 4.0 < place.behaviour.caller.deadline - time.monotonic() <= 5.0


async def test_a_caller_who_leaves_cancels_the_work() -> None:
    async with Place() as place:
        place.behaviour.hold = True
        call = place.call()
        await place.behaviour.started.wait()
        assert place.rpc.under_way == 1
        call.cancel()
        async with asyncio.timeout(2):
            await place.behaviour.cancelled.wait()
            while place.rpc.under_way:
                await asyncio.sleep(0.01)
        assert place.observer.ends == [("Unary", "known", "CANCELLED")]


async def test_a_drain_refuses_new_calls_and_ends_idle_streams() -> None:
    async with Place() as place:
        stream = place.stream()
        await stream.write(b"\x0a\x05known")
        assert api.EmbedResponse.FromString(await stream.read()).model == "known"
        place.rpc.drain()
        code, details, _ = await refused(place.call())
        assert (code, details) == ("UNAVAILABLE", "the server is stopping")
        assert await stream.code() is grpc.StatusCode.UNAVAILABLE
        assert place.rpc.under_way == 0


async def test_a_stream_without_a_deadline_has_none() -> None:
    async with Place() as place:
        stream = place.stream()
        await stream.write(b"\x0a\x05known")
        await stream.read()
        await stream.done_writing()
        assert await stream.code() is grpc.StatusCode.OK
        assert place.behaviour.caller is not None
        assert place.behaviour.caller.deadline == float("inf")


async def test_a_malformed_message_ends_a_stream() -> None:
    async with Place() as place:
        stream = place.stream()
        await stream.write(b"\xff\xff")
        assert await stream.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert place.observer.ends == [("Stream", "", "INVALID_ARGUMENT")]


async def test_a_caller_who_leaves_a_stream_leaves_nothing_under_way() -> None:
    async with Place() as place:
        place.behaviour.hold = True
        stream = place.stream()
        await stream.write(b"\x0a\x05known")
        await place.behaviour.started.wait()
        stream.cancel()
        async with asyncio.timeout(2):
            await place.behaviour.cancelled.wait()
            while place.rpc.under_way:
                await asyncio.sleep(0.01)
        assert place.observer.ends == [("Stream", "", "CANCELLED")]
