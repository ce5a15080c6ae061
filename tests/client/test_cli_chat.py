"""`loquor chat`: piped line by line, and in a terminal of its own, where Ctrl-C ends the turn and not the program."""

import contextlib
import io
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from loquor.__main__ import main
from tests.client.fake_generation import FOREVER, delta, finished, repeat, started, words_of

CTRL_C, CTRL_D = b"\x03", b"\x04"
INTERRUPTED = 130
WAIT = 15.0


@pytest.fixture(autouse=True)
def address(server: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("LOQUOR_ADDRESS", server.address)
    return str(server.address)


def give_stdin(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


def turns(server: Any) -> list[list[tuple[str, str]]]:
    """What each turn sent."""
    asked = [request for (path, _), request in zip(server.calls, server.requests, strict=True) if "Generate" in path]
    return [[(message.role, message.content) for message in request.input.chat.messages] for request in asked]


def test_piped_lines_are_turns_of_one_conversation(
    capsys: pytest.CaptureFixture[str], server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_stdin(monkeypatch, "hello you\n\n  \nand you\n/reset\nnew\n//slash\n/quit\nnever\n")
    flags = ["--system", "Be brief.", "--max-tokens", "1", "--temperature", "0"]
    assert main(["chat", "smollm2:2", *flags]) == 0
    assert capsys.readouterr().out == "hello\nand\nnew\n/slash\n"
    system = ("system", "Be brief.")
    assert turns(server) == [
        [system, ("user", "hello you")],
        [system, ("user", "hello you"), ("assistant", "hello"), ("user", "and you")],
        [system, ("user", "new")],
        [system, ("user", "new"), ("assistant", "new"), ("user", "/slash")],
    ]
    last = server.requests[-1]
    assert (last.version, last.sampling.max_tokens, last.sampling.temperature) == (2, 1, 0)


def test_commands_say_what_they_are_on_stderr(
    capsys: pytest.CaptureFixture[str], server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_stdin(monkeypatch, "/help\n/nope\nhi\n")
    assert main(["chat", "smollm2", "--stats"]) == 0
    shown = capsys.readouterr()
    assert shown.out == "hi\n"
    assert "/reset   forget" in shown.err
    assert "/nope: is no command" in shown.err
    assert "tokens read" in shown.err
    assert len(turns(server)) == 1


def test_a_failure_ends_what_is_piped(
    capsys: pytest.CaptureFixture[str], server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.generation.script = lambda request: [started(), delta("half"), 0.1, grpc.StatusCode.UNAVAILABLE]
    give_stdin(monkeypatch, "one\ntwo\n")
    assert main(["chat", "smollm2"]) == 1
    shown = capsys.readouterr()
    assert shown.out == "half\n"
    assert shown.err.startswith("loquor: UNAVAILABLE: told to fail")


def test_a_model_that_does_not_write_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chat", "minilm"]) == 2
    assert "minilm is a model for embed, and does not write text" in capsys.readouterr().err


# The terminal becomes the one whose Ctrl-C reaches the program, which a mere pair of ends is not.
LAUNCHER = (
    "import fcntl, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "from loquor.__main__ import main; sys.exit(main(sys.argv[1:]))"
)


class Terminal:
    """A `loquor chat` on a terminal of its own."""

    def __init__(self, *words: str) -> None:
        self._ours, theirs = pty.openpty()
        self._process = subprocess.Popen(
            [sys.executable, "-c", LAUNCHER, "chat", "smollm2", *words],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            env={**os.environ, "TERM": "dumb"},
        )
        os.close(theirs)
        os.set_blocking(self._ours, False)
        self._seen = ""

    def type(self, data: bytes) -> None:
        os.write(self._ours, data)

    def wait_for(self, text: str) -> str:
        """What is shown up to and with this text."""
        until = time.monotonic() + WAIT
        while text not in self._seen:
            assert time.monotonic() < until, self._seen
            with contextlib.suppress(BlockingIOError):
                self._seen += os.read(self._ours, 65536).decode()
            time.sleep(0.01)
        before, _, self._seen = self._seen.partition(text)
        return before + text

    def wait(self) -> int:
        return self._process.wait(WAIT)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._ours)


@pytest.fixture
def terminal(server: Any) -> Iterator[Terminal]:
    opened = Terminal()
    yield opened
    opened.close()


def test_a_conversation_in_a_terminal(terminal: Terminal, server: Any) -> None:
    terminal.wait_for("smollm2 version 1; /help says what else there is")
    terminal.wait_for("> ")
    terminal.type(b"hello there\n")
    terminal.wait_for("hello there\r\nhello there\r\n> ")
    terminal.type(CTRL_D)
    assert terminal.wait() == 0
    assert turns(server) == [[("user", "hello there")]]


def test_ctrl_c_ends_the_turn_and_not_the_program(terminal: Terminal, server: Any) -> None:
    def script(request: Any) -> Iterator[Any]:
        if words_of(request.input) == ["long"]:
            yield from (started(), delta("the first"), FOREVER, finished())
        else:
            yield from repeat(request)

    server.generation.script = script
    terminal.wait_for("> ")
    terminal.type(b"long\n")
    terminal.wait_for("the first")
    assert not server.generation.cancelled.is_set()
    terminal.type(CTRL_C)
    terminal.wait_for(" [cancelled]\r\n> ")
    assert server.generation.cancelled.wait(WAIT)
    terminal.type(b"go on\n")
    terminal.wait_for("go on\r\ngo on\r\n> ")
    assert turns(server)[1] == [("user", "long"), ("assistant", "the first"), ("user", "go on")]
    terminal.type(CTRL_C)
    assert terminal.wait() == INTERRUPTED


def test_a_turn_that_fails_is_forgotten_and_the_next_one_goes_on(terminal: Terminal, server: Any) -> None:
    terminal.wait_for("> ")
    server.failures.append((grpc.StatusCode.INVALID_ARGUMENT, ()))
    terminal.type(b"too long\n")
    terminal.wait_for("loquor: INVALID_ARGUMENT: told to fail")
    terminal.wait_for("> ")
    terminal.type(b"shorter\n")
    terminal.wait_for("shorter\r\nshorter\r\n")
    terminal.type(b"/quit\n")
    assert terminal.wait() == 0
    assert turns(server)[1] == [("user", "shorter")]


def test_ctrl_c_ends_what_is_piped(server: Any) -> None:
    server.generation.script = lambda request: [started(), delta("one"), FOREVER, finished()]
    command = [sys.executable, "-m", "loquor", "chat", "smollm2"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as running:
        assert running.stdin is not None
        running.stdin.write("a\n")
        running.stdin.flush()
        assert server.generation.waits.wait(WAIT)
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=WAIT)
    assert (running.returncode, err) == (INTERRUPTED, "")
    assert server.generation.cancelled.wait(WAIT)
