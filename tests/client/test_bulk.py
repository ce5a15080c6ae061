"""Many texts through one stream: order, memory, and streams that break."""

import itertools
import random
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import loquor

QUICK = loquor.Retry(initial_backoff_seconds=0.01, max_backoff_seconds=0.02)
UNAVAILABLE, EXHAUSTED, INVALID = 14, 8, 3


def texts(count: int) -> list[str]:
    return [f"text {number}" + "." * (number % 7) for number in range(count)]


def expected(vector: Any, count: int) -> list[list[float]]:
    return [vector(text) for text in texts(count)]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    count=st.integers(0, 60),
    batch_size=st.integers(1, 9),
    window=st.integers(1, 8),
    seed=st.integers(0, 2**32),
    breaks=st.lists(st.integers(1, 5), max_size=3),
)
def test_answers_in_any_order_over_streams_that_break_come_back_in_order(
    server: Any, vector: Any, count: int, batch_size: int, window: int, seed: int, breaks: list[int]
) -> None:
    server.random = random.Random(seed)
    server.streams_to_break.extend(breaks)
    with loquor.Client(server.address, retry=QUICK) as client:
        answers = client.embed_many("minilm", texts(count), batch_size=batch_size, window=window)
        assert [list(answer) for answer in answers] == expected(vector, count)
    server.streams_to_break.clear()


async def test_the_async_client_gives_the_same(server: Any, vector: Any) -> None:
    server.streams_to_break.append(3)
    async with loquor.AsyncClient(server.address, retry=QUICK) as client:
        answers = [list(one) async for one in client.embed_many("minilm", texts(100), batch_size=7, window=4)]
    assert answers == expected(vector, 100)
    assert len(server.calls) == 2


def test_an_endless_input_is_read_no_further_than_the_window(client: loquor.Client, server: Any) -> None:
    read = 0

    def endless() -> Iterator[str]:
        nonlocal read
        while True:
            read += 1
            yield "a"

    answers = client.embed_many("minilm", endless(), batch_size=5, window=3)
    for number in range(1, 101):
        next(answers)
        assert read <= number + 5 + 5 * 3
    answers.close()  # type: ignore[attr-defined]
    assert server.most_under_way <= 3


def test_progress_counts_texts(client: loquor.Client) -> None:
    seen: list[int] = []
    list(client.embed_many("minilm", texts(10), batch_size=4, progress=seen.append))
    assert seen == [4, 8, 10]


def test_nothing_is_asked_before_the_first_answer_is_wanted(client: loquor.Client, server: Any) -> None:
    client.embed_many("minilm", texts(10))
    assert client.state is loquor.ClientState.UNOPENED
    assert server.calls == []


def test_one_refused_batch_is_sent_again_alone(server: Any, vector: Any) -> None:
    server.stream_failures["1"] = deque([(EXHAUSTED, "full"), (UNAVAILABLE, "lost")])
    with loquor.Client(server.address, retry=QUICK) as client:
        answers = list(client.embed_many("minilm", texts(30), batch_size=10))
    assert [list(one) for one in answers] == expected(vector, 30)
    assert len(server.calls) == 1


def test_a_batch_that_fails_for_good_raises_after_those_before_it(client: loquor.Client, server: Any) -> None:
    server.stream_failures["2"] = deque([(INVALID, "texts[0]: too long")])
    answers = client.embed_many("minilm", texts(40), batch_size=10, window=2)
    assert len(list(itertools.islice(answers, 10))) == 10
    with pytest.raises(loquor.InvalidArgument, match=r"batch 2: texts\[0\]: too long"):
        list(answers)


def test_a_stream_that_breaks_every_time_ends(server: Any) -> None:
    server.streams_to_break.extend([0] * 100)
    with loquor.Client(server.address, retry=QUICK) as client, pytest.raises(loquor.Unavailable, match="goes away"):
        list(client.embed_many("minilm", texts(10)))


def test_without_retry_a_broken_stream_is_final(server: Any) -> None:
    server.streams_to_break.append(1)
    with loquor.Client(server.address, retry=None) as client, pytest.raises(loquor.Unavailable):
        list(client.embed_many("minilm", texts(10), batch_size=1))
    assert len(server.calls) == 1


def test_a_stream_that_has_aged_gives_way_to_a_new_one(client: loquor.Client, server: Any, vector: Any) -> None:
    answers = client.embed_many("minilm", texts(500), batch_size=2, window=4, deadline_seconds=0.5)
    assert [list(one) for one in answers] == expected(vector, 500)
    assert len(server.calls) > 1


def test_a_slow_reader_is_not_the_servers_fault(client: loquor.Client, vector: Any) -> None:
    answers = client.embed_many("minilm", texts(30), batch_size=5, window=4, deadline_seconds=0.5)
    first = list(next(answers))
    time.sleep(1.2)
    assert [first, *(list(one) for one in answers)] == expected(vector, 30)


def test_a_server_that_never_answers_meets_the_deadline(server: Any) -> None:
    server.stream_is_mute = True
    with loquor.Client(server.address) as client, pytest.raises(loquor.DeadlineExceeded):
        list(client.embed_many("minilm", texts(3), deadline_seconds=0.1))


def test_leaving_early_ends_the_stream(client: loquor.Client, server: Any) -> None:
    for _ in client.embed_many("minilm", texts(1000), batch_size=1):
        break
    assert len(client.embed("minilm", "after")) == 1
