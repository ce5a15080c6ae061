"""Sequences that are written: each ends once, nothing is read twice, and who does not read is cut off."""

import asyncio
import time

import pytest

from loquor.internal.v1 import replica_service_pb2 as wire
from loquor.v1.generation_pb2 import FINISH_REASON_LENGTH, FinishReason
from loquor_server.caller import Caller
from loquor_server.errors import DeadlineExceeded, EngineFailed, RequestError, SlowReader, Unavailable
from loquor_server.pending_request import Answer
from loquor_server.writing import ReadLimits, Writing, WrittenSequence


def writing(sequences: int = 1, tokens: int = 10, seconds: float = 5.0) -> Writing:
    return Writing(Caller("test"), sequences, ReadLimits(tokens, seconds), lambda: None)


def wrote(*ids: int, finish: FinishReason = FinishReason.FINISH_REASON_UNSPECIFIED) -> wire.Tokens:
    return wire.Tokens(ids=ids, finish=finish)


def ids(sequence: WrittenSequence) -> list[int]:
    return [id for came in sequence.read() for id in came.tokens.ids]


async def test_what_comes_is_read_once_and_together() -> None:
    (sequence,) = several = writing()
    assert not sequence.begun
    sequence.take(wrote(1, 2), 0.25)
    sequence.take(wrote(3), 0.25)
    assert sequence.begun
    assert not sequence.ended
    assert await several.news() == [0]
    came = sequence.read()
    assert [list(one.tokens.ids) for one in came] == [[1, 2], [3]]
    assert came[0].queue_seconds == 0.25
    assert came[0].at <= came[1].at <= time.monotonic()
    assert sequence.read() == []
    sequence.take(wrote(4, finish=FINISH_REASON_LENGTH), 0.25)
    assert (sequence.complete, sequence.ended, sequence.failure) == (True, True, None)
    assert ids(sequence) == [4]


async def test_news_tell_of_each_sequence_once_in_order() -> None:
    several = writing(4)
    for place in (2, 0, 2):
        several.sequences[place].take(wrote(place), 0.0)
    several.sequences[3].fail(Unavailable("gone"))
    assert await several.news() == [2, 0, 3]
    waiting = asyncio.create_task(several.news())
    await asyncio.sleep(0)
    assert not waiting.done()
    several.sequences[1].take(wrote(1), 0.0)
    assert await waiting == [1]


@pytest.mark.parametrize("ending", ["complete", "failure", "close"])
async def test_after_its_ending_nothing_counts(ending: str) -> None:
    (sequence,) = writing()
    if ending == "complete":
        sequence.take(wrote(1, finish=FINISH_REASON_LENGTH), 0.0)
    elif ending == "failure":
        sequence.fail(Unavailable("first"))
    else:
        sequence.close()
    failure = sequence.failure
    sequence.read()
    sequence.take(wrote(2), 0.0)
    sequence.fail(EngineFailed("second"))
    sequence.expire()
    sequence.close()
    assert sequence.read() == []
    assert sequence.failure is failure
    assert sequence.complete is (ending == "complete")


async def test_every_way_to_fail_has_its_error() -> None:
    ways = writing(4)
    ways.sequences[0].cancelled()
    ways.sequences[1].answer(0, Answer([], 0.0, 0.0, 1, 1))
    ways.sequences[2].fail(KeyError("words of the caller"))
    ways.sequences[3].take(wrote(1, finish=FINISH_REASON_LENGTH), 0.0)
    ways.expire()
    assert [type(sequence.failure) for sequence in ways] == [EngineFailed, EngineFailed, EngineFailed, type(None)]
    assert "words" not in str(ways.sequences[2].failure)
    (late,) = several = writing()
    several.expire()
    assert isinstance(late.failure, DeadlineExceeded)


async def test_too_many_unread_tokens_cut_a_sequence_off() -> None:
    reader, sleeper = several = writing(2, tokens=10)
    for step in range(30):
        reader.take(wrote(step), 0.0)
        sleeper.take(wrote(step), 0.0)
        assert ids(reader) == [step]
    assert reader.failure is None
    assert isinstance(sleeper.failure, SlowReader)
    assert isinstance(sleeper.failure, RequestError)
    assert len(ids(sleeper)) == 11
    assert await several.news() == [0, 1]


async def test_tokens_that_wait_too_long_cut_a_sequence_off(monkeypatch: pytest.MonkeyPatch) -> None:
    (sequence,) = writing(seconds=2.0)
    now = time.monotonic()
    monkeypatch.setattr("loquor_server.writing.time.monotonic", lambda: now)
    sequence.take(wrote(1), 0.0)
    now += 1.9
    sequence.take(wrote(2), 0.0)
    assert sequence.failure is None
    now += 0.2
    sequence.take(wrote(3), 0.0)
    assert isinstance(sequence.failure, SlowReader)


async def test_the_last_tokens_are_always_delivered() -> None:
    (sequence,) = writing(tokens=2)
    sequence.take(wrote(1, 2, 3, 4, finish=FINISH_REASON_LENGTH), 0.0)
    assert sequence.failure is None
    assert ids(sequence) == [1, 2, 3, 4]


async def test_what_is_held_for_them_is_released_once_when_the_last_has_ended_read_or_not() -> None:
    released: list[str] = []
    several = Writing(Caller("test"), 4, ReadLimits(2, 5.0), lambda: released.append("released"))
    done, slow, failed, left = several
    done.take(wrote(1, finish=FINISH_REASON_LENGTH), 0.0)
    slow.take(wrote(1, 2, 3), 0.0)
    failed.fail(Unavailable("gone"))
    failed.fail(Unavailable("twice"))
    slow.close()
    assert released == []
    left.take(wrote(1), 0.0)
    left.expire()
    assert released == ["released"]
    several.close()
    several.expire()
    assert released == ["released"]
