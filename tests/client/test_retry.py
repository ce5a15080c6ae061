"""gRPC's own retries do what `Retry` says, on both stacks. The decision is docs/decisions/0004-retries-by-grpc.md."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

import loquor
from loquor._retry import service_config

UNAVAILABLE, EXHAUSTED = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED
QUICK = loquor.Retry(initial_backoff_seconds=0.01, max_backoff_seconds=0.02)

Embed = Callable[[], Any]


@pytest.fixture(params=["blocking", "awaiting"])
def embed(request: pytest.FixtureRequest, server: Any) -> Iterator[Embed]:
    """One call of `embed`, on either stack, with quick retries."""
    if request.param == "blocking":
        with loquor.Client(server.address, retry=QUICK, deadline_seconds=5) as client:
            yield lambda: client.embed("minilm", "a")
        return
    with asyncio.Runner() as runner:
        awaiting = loquor.AsyncClient(server.address, retry=QUICK, deadline_seconds=5)
        yield lambda: runner.run(awaiting.embed("minilm", "a"))
        runner.run(awaiting.close())


def pushback(milliseconds: int) -> tuple[tuple[str, str], ...]:
    return (("grpc-retry-pushback-ms", str(milliseconds)),)


def test_a_server_that_fails_first_is_asked_again(embed: Embed, server: Any) -> None:
    server.failures.extend([(UNAVAILABLE, ()), (EXHAUSTED, ()), (UNAVAILABLE, ())])
    assert len(embed()) == 1
    assert len(server.calls) == 4
    assert len({metadata["x-request-id"] for _, metadata in server.calls}) == 1


def test_tries_end(embed: Embed, server: Any) -> None:
    server.failures.extend([(UNAVAILABLE, ())] * 9)
    with pytest.raises(loquor.Unavailable, match="told to fail"):
        embed()
    assert len(server.calls) == 4


def test_the_server_says_when(embed: Embed, server: Any) -> None:
    server.failures.append((EXHAUSTED, pushback(300)))
    started = time.monotonic()
    embed()
    assert 0.3 <= time.monotonic() - started < 3


def test_the_server_says_never(embed: Embed, server: Any) -> None:
    server.failures.append((EXHAUSTED, pushback(-1)))
    with pytest.raises(loquor.ResourceExhausted) as caught:
        embed()
    assert len(server.calls) == 1
    assert caught.value.retry_after_seconds is None


def test_other_failures_are_final(embed: Embed, server: Any) -> None:
    server.failures.append((grpc.StatusCode.INVALID_ARGUMENT, ()))
    with pytest.raises(loquor.InvalidArgument):
        embed()
    assert len(server.calls) == 1


def test_a_budget_stops_a_storm_and_successes_refill_it(embed: Embed, server: Any) -> None:
    server.failures.extend([(UNAVAILABLE, ())] * 1000)
    tries = []
    for _ in range(20):
        before = len(server.calls)
        with pytest.raises(loquor.Unavailable):
            embed()
        tries.append(len(server.calls) - before)
    assert sum(tries[:3]) == 10, "half of a budget of 20"
    assert set(tries[3:]) == {1}, "then each call is tried once"
    server.failures.clear()
    for _ in range(120):
        embed()
    server.failures.append((UNAVAILABLE, ()))
    assert len(embed()) == 1


def test_a_large_request_is_tried_again_too(server: Any) -> None:
    server.failures.append((UNAVAILABLE, ()))
    with loquor.Client(server.address, retry=QUICK) as client:
        assert client.embed("minilm", "a" * 2_000_000)[0][0] == 2_000_000
    assert len(server.calls) == 2


def test_without_retry_the_caller_learns_when_to_come_back(server: Any) -> None:
    server.failures.append((EXHAUSTED, pushback(250)))
    with loquor.Client(server.address, retry=None) as client, pytest.raises(loquor.ResourceExhausted) as caught:
        client.embed("minilm", "a")
    assert caught.value.retry_after_seconds == 0.25
    assert len(server.calls) == 1


def test_after_the_last_try_too(embed: Embed, server: Any) -> None:
    server.failures.extend([(EXHAUSTED, pushback(20))] * 4)
    with pytest.raises(loquor.ResourceExhausted) as caught:
        embed()
    assert caught.value.retry_after_seconds == 0.02


def test_all_tries_share_the_deadline(server: Any) -> None:
    server.failures.extend([(EXHAUSTED, pushback(2000))] * 3)
    started = time.monotonic()
    with loquor.Client(server.address) as client, pytest.raises(loquor.DeadlineExceeded):
        client.embed("minilm", "a", deadline_seconds=0.2)
    assert time.monotonic() - started < 1.9


@pytest.mark.parametrize(
    "wrong",
    [
        {"attempts": 1},
        {"attempts": 6},
        {"initial_backoff_seconds": 0.001},
        {"initial_backoff_seconds": 3.0},
        {"multiplier": 0.5},
        {"budget": 0},
        {"budget_ratio": 0.0},
    ],
)
def test_a_wrong_policy_is_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        loquor.Retry(**wrong)


def test_backoff_grows_to_its_ceiling() -> None:
    retry = loquor.Retry(initial_backoff_seconds=0.1, max_backoff_seconds=0.3)
    for failures, middle in ((1, 0.1), (2, 0.2), (3, 0.3), (9, 0.3)):
        assert 0.8 * middle <= retry.backoff_seconds(failures) <= 1.2 * middle


def test_the_service_config_is_round_robin_with_or_without_retry() -> None:
    assert json.loads(service_config(None)) == {"loadBalancingConfig": [{"round_robin": {}}]}
    config = json.loads(service_config(loquor.Retry()))
    assert config["methodConfig"][0]["retryPolicy"]["maxAttempts"] == 4
    assert config["retryThrottling"] == {"maxTokens": 20, "tokenRatio": 0.1}
