"""The worker's end of the streams from its fronts, in a thread of its own with an event loop.

It carries messages between sockets and the inbox, tells each front its room, and sends heartbeats at a fixed pace, so
that a front can tell a stuck engine from an idle one. It knows no engine.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator
from typing import TypeAlias

import grpc
import uvloop
from grpc import aio

from loquor.internal import channels
from loquor.internal.protocol import PROTOCOL_VERSION, SERVE_METHOD
from loquor.internal.v1 import replica_service_pb2 as wire
from loquor_worker.inbox import Arrived, Cancelled, Gone, Inbox
from loquor_worker.sequence import Sender
from loquor_worker.worker import Progress

Context: TypeAlias = "aio.ServicerContext[wire.ServeRequest, wire.ServeResponse]"


class Front:
    """One stream: what is to be sent on it, and its room."""

    def __init__(self) -> None:
        self.outgoing: asyncio.Queue[wire.ServeResponse] = asyncio.Queue()


class Link:
    """Listens at once, so that fronts can dial while the model is loading; speaks once `ready` or `fail` is called."""

    def __init__(self, address: str, epoch: int, inbox: Inbox, progress: Progress, heartbeat_seconds: float) -> None:
        self._address = address
        self._epoch = epoch
        self._inbox = inbox
        self._progress = progress
        self._heartbeat_seconds = heartbeat_seconds
        self._fronts: list[Front] = []
        self._greeting: wire.ServeResponse | None = None
        self._room = wire.Room()
        self._loop = uvloop.new_event_loop()
        self._listening = threading.Event()
        self._greeted = threading.Event()
        self._error: BaseException | None = None
        self._closed = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="link", daemon=True)

    def open(self) -> None:
        """Start listening. Raises what binding the address raised."""
        self._thread.start()
        self._listening.wait()
        if self._error is not None:
            raise self._error

    def ready(self, hello: wire.WorkerHello, room: wire.Room) -> None:
        """Greet all fronts, present and future. `room` is that of all fronts together."""
        hello.protocol_version = PROTOCOL_VERSION
        self._call(self._greet, wire.ServeResponse(epoch=self._epoch, hello=hello), room)

    def fail(self, message: str, seconds: float) -> None:
        """Tell a front that the model cannot be loaded, waiting `seconds` for one to dial at the longest."""
        failure = wire.LoadFailure(message=message)
        self._call(self._greet, wire.ServeResponse(epoch=self._epoch, failure=failure), wire.Room())
        self._greeted.wait(seconds)

    def send(self, sender: Sender, results: wire.StepResults) -> None:
        """Send results to the front that asked. Dropped if it has gone."""
        self._call(self._put, sender, wire.ServeResponse(epoch=self._epoch, results=results))

    def close(self, seconds: float) -> None:
        """Send what is still to be sent, then hang up, after `seconds` at the latest."""
        self._call(self._closed.set)
        self._thread.join(seconds)

    def _call(self, function: object, *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended: there is nobody to tell
            self._loop.call_soon_threadsafe(function, *arguments)

    # --- in the link's thread ---

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        server = aio.server(options=channels.SERVER_OPTIONS)
        method = grpc.stream_stream_rpc_method_handler(
            self._serve_front, wire.ServeRequest.FromString, wire.ServeResponse.SerializeToString
        )
        service, name = SERVE_METHOD.strip("/").split("/")
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {name: method}),))
        try:
            server.add_insecure_port(self._address)
            await server.start()
        except BaseException as error:
            self._error = error
            return
        finally:
            self._listening.set()
        beating = asyncio.create_task(self._beat())
        await self._closed.wait()
        beating.cancel()
        while any(not front.outgoing.empty() for front in self._fronts):
            await asyncio.sleep(0.005)
        await server.stop(grace=0.2)

    async def _serve_front(self, requests: AsyncIterator[wire.ServeRequest], context: Context) -> None:
        front = Front()
        self._fronts.append(front)
        if self._greeting is not None:
            self._put_greeting(front)
        self._share_room()
        reading = asyncio.create_task(self._read(front, requests))
        try:
            while True:
                await context.write(await front.outgoing.get())
        finally:
            reading.cancel()
            self._fronts.remove(front)
            self._inbox.put(Gone(front))
            self._share_room()

    async def _read(self, front: Front, requests: AsyncIterator[wire.ServeRequest]) -> None:
        async for request in requests:
            kind = request.WhichOneof("message")
            if kind == "submissions":
                self._inbox.put(Arrived(front, list(request.submissions.submissions), time.monotonic()))
            elif kind == "cancels":
                self._inbox.put(Cancelled(front, list(request.cancels.ids)))

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._heartbeat_seconds)
            beat = wire.Heartbeat(steps=self._progress.steps, step_seconds=self._progress.step_seconds())
            for front in self._fronts:
                front.outgoing.put_nowait(wire.ServeResponse(epoch=self._epoch, heartbeat=beat))

    def _greet(self, greeting: wire.ServeResponse, room: wire.Room) -> None:
        self._greeting, self._room = greeting, room
        for front in self._fronts:
            self._put_greeting(front)

    def _put_greeting(self, front: Front) -> None:
        greeting = wire.ServeResponse()
        greeting.CopyFrom(self._greeting or greeting)
        greeting.room.CopyFrom(self._room_each())
        front.outgoing.put_nowait(greeting)
        self._greeted.set()

    def _share_room(self) -> None:
        """Tell every front its share of the room, which changes as fronts come and go."""
        if self._greeting is not None:
            for front in self._fronts:
                front.outgoing.put_nowait(wire.ServeResponse(epoch=self._epoch, room=self._room_each()))

    def _room_each(self) -> wire.Room:
        fronts = max(1, len(self._fronts))
        return wire.Room(
            submissions=max(1, self._room.submissions // fronts), tokens=max(1, self._room.tokens // fronts)
        )

    def _put(self, sender: Sender, response: wire.ServeResponse) -> None:
        if isinstance(sender, Front):
            sender.outgoing.put_nowait(response)
