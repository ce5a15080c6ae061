"""A client's connection: its state, and what goes with every call. It does not know which calls there are."""

import re
import secrets
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import TypeVar

from loquor._channel import TLS, ChannelSettings, check_deadline
from loquor._retry import Retry
from loquor._transport import CallContext, Method, Transport

Request = TypeVar("Request")
Response = TypeVar("Response")

DEFAULT_ADDRESS = "127.0.0.1:8001"
DEFAULT_DEADLINE_SECONDS = 30.0
DEFAULT_MESSAGE_BYTES = 64 * 1024 * 1024

_PRIORITIES = (None, *range(1, 10))
_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")


class ClientState(Enum):
    """A client connects with its first call and is of no use once closed.

    | from     | to     | by                          |
    |----------|--------|-----------------------------|
    | UNOPENED | OPENED | the first call              |
    | UNOPENED | CLOSED | `close`                     |
    | OPENED   | CLOSED | `close`                     |
    """

    UNOPENED = "unopened"
    OPENED = "opened"
    CLOSED = "closed"


class Connection(ABC):
    """The transport is what makes the difference between the clients."""

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        deadline_seconds: float = DEFAULT_DEADLINE_SECONDS,
        tls: TLS | None = None,
        key: str | None = None,
        retry: Retry | None = Retry(),  # noqa: B008 - frozen
        metadata: Mapping[str, str] = MappingProxyType({}),
        max_message_bytes: int = DEFAULT_MESSAGE_BYTES,
    ) -> None:
        """Connects to nothing yet.

        `address` is `host:port` (every address of the name is used, in turn), `ip:port,ip:port`, `unix:path`, or a gRPC
        name such as `dns:///host:port`. `deadline_seconds` is for each call that names none. `key` goes with each call
        as `authorization: Bearer ...`, and never over an open wire: without `tls` only to a loopback or Unix address.
        `metadata` goes with each call too. `max_message_bytes` is for one request or one answer.
        """
        self._settings = ChannelSettings(
            address=address,
            deadline_seconds=deadline_seconds,
            tls=tls,
            key=key,
            retry=retry,
            metadata=metadata,
            max_message_bytes=max_message_bytes,
        )
        self._transport = self._new_transport(self._settings)
        self._state = ClientState.UNOPENED
        self._moving = threading.Lock()

    @abstractmethod
    def _new_transport(self, settings: ChannelSettings) -> Transport: ...

    @property
    def state(self) -> ClientState:
        return self._state

    async def close(self) -> None:
        """Closes the connections; calls under way end with `Cancelled`. Closing twice does nothing."""
        if self._move(ClientState.CLOSED) is ClientState.OPENED:
            await self._transport.close()

    async def _call(self, method: Method[Request, Response], request: Request, context: CallContext) -> Response:
        self._move(ClientState.OPENED)
        return await self._transport.unary(method, request, context)

    def _move(self, state: ClientState) -> ClientState:
        """The one place where the state changes. Returns the state before."""
        with self._moving:
            before = self._state
            if before is ClientState.CLOSED and state is ClientState.OPENED:
                raise RuntimeError("this client is closed; make a new one")
            if before is ClientState.UNOPENED and state is ClientState.OPENED:
                self._transport.open()
            if before is not ClientState.CLOSED:
                self._state = state
            return before

    def _context(
        self, request_id: str | None, deadline_seconds: float | None, priority: int | None = None
    ) -> CallContext:
        name = secrets.token_hex(8) if request_id is None else request_id
        if not isinstance(name, str) or not _REQUEST_ID.fullmatch(name):
            raise ValueError("request_id: takes 1 to 128 printable ASCII characters without blanks")
        if priority not in _PRIORITIES:
            raise ValueError(f"priority: takes 1 (first) to 9 (last), not {priority!r}")
        seconds = self._settings.deadline_seconds if deadline_seconds is None else deadline_seconds
        check_deadline(seconds)
        rank = () if priority is None else (("loquor-priority", str(priority)),)
        return CallContext(seconds, name, (("x-request-id", name), *rank, *self._settings.call_metadata))
