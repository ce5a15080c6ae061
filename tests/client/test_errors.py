"""Every gRPC status has its exception, and the tree in the docstring is the tree in the code."""

import re
import time
from typing import Any

import grpc
import pytest

import loquor
from loquor import _errors


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_a_status_becomes_its_exception(server: Any, code: grpc.StatusCode) -> None:
    server.failures.append((code, ()))
    with loquor.Client(server.address, retry=None) as client, pytest.raises(loquor.LoquorError) as caught:
        client.embed("minilm", "a", request_id="the-id")
    error = caught.value
    assert (error.code, error.message, error.request_id) == (code, "told to fail", "the-id")
    assert str(error) == f"{code.name}: told to fail (request the-id)"


def test_the_tree_is_as_drawn() -> None:
    drawn = dict(re.findall(r"[├└]── (\w+) +([A-Z_]+)", _errors.__doc__ or ""))
    assert drawn == {cls.__name__: cls.code.name for cls in loquor.LoquorError.__subclasses__()}
    assert all(getattr(loquor, name).__doc__ for name in drawn)


async def test_the_async_client_raises_the_same(server: Any) -> None:
    server.failures.append((grpc.StatusCode.NOT_FOUND, ()))
    async with loquor.AsyncClient(server.address) as client:
        with pytest.raises(loquor.NotFound, match="told to fail"):
            await client.get_model("absent")
        server.before_answer = lambda: time.sleep(0.3)
        with pytest.raises(loquor.DeadlineExceeded):
            await client.embed("minilm", "a", deadline_seconds=0.05)


def test_no_server_is_unavailable() -> None:
    with loquor.Client("127.0.0.1:1", retry=None) as client, pytest.raises(loquor.Unavailable, match="refused"):
        client.list_models()


def test_a_call_that_the_server_does_not_know() -> None:
    assert isinstance(_errors.from_code(12, "no"), loquor.Unimplemented)
    assert _errors.from_code(99, "odd").code is grpc.StatusCode.UNKNOWN
