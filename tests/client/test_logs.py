"""One line an event, in the form that was asked for, and no words of an exception."""

import json
from collections.abc import Iterator

import pytest
import structlog

from loquor.internal import logs

SECRET = "words of the caller"


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def raises() -> None:
    raise ValueError(SECRET)


def written(capsys: pytest.CaptureFixture[str]) -> list[str]:
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()


def test_json_has_an_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json", "info")
    structlog.get_logger().info("worker started", pid=3, name="two\nlines")
    (line,) = written(capsys)
    event = json.loads(line)
    assert (event["event"], event["level"], event["pid"], event["name"]) == ("worker started", "info", 3, "two\nlines")
    assert event["timestamp"].endswith("Z")


@pytest.mark.parametrize("form", ["json", "human"])
def test_an_event_is_a_line_whatever_is_in_it(capsys: pytest.CaptureFixture[str], form: str) -> None:
    logs.configure(form, "info")
    structlog.get_logger().info("event", text="one\r\ntwo\x1b[31m\nthree")
    assert len(written(capsys)) == 1


@pytest.mark.parametrize("form", ["json", "human"])
def test_of_an_exception_there_is_its_kind_and_its_place(capsys: pytest.CaptureFixture[str], form: str) -> None:
    logs.configure(form, "debug")
    try:
        raises()
    except ValueError as error:
        structlog.get_logger().error("engine failed", exc_info=True)
        structlog.get_logger().error("call failed", exc_info=error)
    lines = written(capsys)
    assert len(lines) == 2
    for line in lines:
        assert "ValueError" in line
        assert "raises (" in line
        assert SECRET not in line


def test_what_is_below_the_level_is_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json", "warning")
    log = structlog.get_logger()
    log.info("no")
    log.warning("yes")
    logs.set_level("debug")
    log.debug("now")
    assert [json.loads(line)["event"] for line in written(capsys)] == ["yes", "now"]


def test_it_says_what_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("human", "info")
    for level in ("debug", "warning"):
        logs.set_level(level)
        for event in ("debug", "info", "warning", "error"):
            getattr(structlog.get_logger(), event)("said")
            assert (written(capsys) != []) is logs.writes(event)
