"""`loquor generate` against a server that repeats its prompt: what is printed, and what is sent."""

import io
import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest

from loquor.__main__ import main
from loquor.cli import sampling
from tests.client.fake_generation import delta, finished, started


@pytest.fixture(autouse=True)
def address(server: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("LOQUOR_ADDRESS", server.address)
    return str(server.address)


def lines(capsys: pytest.CaptureFixture[str]) -> list[Any]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def give_stdin(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


def test_a_prompt_is_written_on(capsys: pytest.CaptureFixture[str], server: Any) -> None:
    assert main(["generate", "smollm2:2", "to be", "--max-tokens", "1"]) == 0
    assert capsys.readouterr().out == "to\n"
    request = server.requests[0]
    assert (request.model, request.version, [one.prompt for one in request.inputs]) == ("smollm2", 2, ["to be"])
    assert 500 < server.deadlines[0] < 601


def test_several_prompts_go_out_together_in_batches(capsys: pytest.CaptureFixture[str], server: Any) -> None:
    assert main(["generate", "m", "a b", "c", "--batch-size", "2", "d", "--stats"]) == 0
    shown = capsys.readouterr()
    assert shown.out == "a b\nc\nd\n"
    assert [len(request.inputs) for request in server.requests] == [2, 1]
    assert shown.err.splitlines()[0] == (
        "3 tokens read (2 cached), 2 written, the first after 0.50 s, 0.7 a second after that; stop"
    )


def test_prompts_come_from_stdin_or_a_file_whole_or_by_line(
    capsys: pytest.CaptureFixture[str], server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_stdin(monkeypatch, "one\n\ntwo\n")
    assert main(["generate", "m"]) == 0
    give_stdin(monkeypatch, "one\ntwo\n")
    assert main(["generate", "m", "--lines"]) == 0
    (tmp_path / "prompt").write_text("über\nalles\n")
    assert main(["generate", "m", "--file", str(tmp_path / "prompt")]) == 0
    sent = [[one.prompt for one in request.inputs] for request in server.requests]
    assert sent == [["one\n\ntwo"], ["one", "two"], ["über\nalles"]]


def test_chat_asks_in_the_models_template(capsys: pytest.CaptureFixture[str], server: Any) -> None:
    assert main(["generate", "m", "--chat", "hello you"]) == 0
    assert main(["generate", "m", "--system", "Be brief.", "hello"]) == 0
    assert capsys.readouterr().out == "hello you\nhello\n"
    first, second = ([(one.role, one.content) for one in r.inputs[0].chat.messages] for r in server.requests)
    assert first == [("user", "hello you")]
    assert second == [("system", "Be brief."), ("user", "hello")]


def test_json_is_one_object_a_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", "m", "--json", "-n", "2", "--logprobs", "1", "a b", "c"]) == 0
    answers = lines(capsys)
    assert [(one["index"], one["choice"], one["text"], one["seed"]) for one in answers] == [
        (0, 0, "a b", 7),
        (0, 1, "a b", 8),
        (1, 0, "c", 7),
        (1, 1, "c", 8),
    ]
    assert (answers[0]["finish_reason"], answers[0]["completion_tokens"]) == ("stop", 2)
    token = answers[2]["tokens"][0]
    assert token == {"id": 1, "text": "c", "logprob": -0.5, "alternatives": [{"id": 0, "text": "<0>", "logprob": -2.0}]}


def test_json_streams_deltas_and_then_the_end(capsys: pytest.CaptureFixture[str], server: Any) -> None:
    assert main(["generate", "m", "--json", "--stream", "a b", "c"]) == 0
    answers = lines(capsys)
    assert [(one["index"], one["text"], one.get("finish_reason")) for one in answers] == [
        (0, "a", None),
        (0, " b", None),
        (0, "", "stop"),
        (1, "c", None),
        (1, "", "stop"),
    ]
    assert {path.rpartition("/")[2] for path, _ in server.calls} == {"Generate"}


def test_streamed_text_is_the_same_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", "m", "--stream", "a b", "c", "--stats"]) == 0
    shown = capsys.readouterr()
    assert shown.out == "a b\nc\n"
    assert "2 written" in shown.err


def test_a_terminal_is_shown_the_text_as_it_comes_and_no_controls(server: Any) -> None:
    server.generation.script = lambda request: [
        started(),
        delta("first"),
        0.5,
        delta("\x1b[2J\tü\n\x9bend"),
        finished(),
    ]
    ours, theirs = pty.openpty()
    running = subprocess.Popen([sys.executable, "-m", "loquor", "generate", "m", "prompt"], stdout=theirs)
    os.close(theirs)
    assert os.read(ours, 100) == b"first"
    assert running.wait(20) == 0
    assert os.read(ours, 100).decode().replace("\r\n", "\n") == " [2J\tü\n end\n"
    os.close(ours)


def test_every_sampling_flag_goes_out(server: Any, tmp_path: Path) -> None:
    (tmp_path / "schema.json").write_text('{"type": "object"}')
    flags = (
        "--max-tokens 9 --min-tokens 2 --temperature 0 --top-k 3 --top-p 0.5 --min-p 0.25 --repetition-penalty 1.5 "
        "--presence-penalty -1 --frequency-penalty 2 --seed 18446744073709551615 --stop one --stop two --ignore-eos "
        f"--schema {tmp_path}/schema.json"
    )
    assert main(["generate", "m", "a", *flags.split()]) == 0
    sent = server.requests[0].sampling
    assert (sent.temperature, sent.presence_penalty, sent.seed, list(sent.stop)) == (0, -1, 2**64 - 1, ["one", "two"])
    assert sent.json_schema == '{"type": "object"}'
    assert len(sent.ListFields()) == len(sampling._FLAGS) + 3
    assert main(["generate", "m", "a", "--regex", "[ab]+"]) == 0
    assert [field.name for field, _ in server.requests[1].sampling.ListFields()] == ["regex"]


def test_a_failure_while_it_streams_is_status_1(capsys: pytest.CaptureFixture[str], server: Any) -> None:
    server.generation.script = lambda request: [started(), delta("half"), 0.1, grpc.StatusCode.UNAVAILABLE]
    assert main(["generate", "m", "--stream", "a"]) == 1
    shown = capsys.readouterr()
    assert shown.out == "half"
    assert shown.err.startswith("loquor: UNAVAILABLE: told to fail")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["a", "-n", "2", "--stream"], "add --json"),
        (["a", "--logprobs", "1"], "--logprobs: are shown with --json alone"),
        (["a", "--max-tokens", "0"], "'0' is no whole number from 1"),
        (["a", "--top-k", "-1"], "'-1' is no whole number from 0 to 4294967295"),
        (["a", "--seed", str(2**64)], "is no whole number from 0 to 18446744073709551615"),
        (["a", "--temperature", "warm"], "'warm' is no number"),
        (["a", "--regex", "a", "--schema", "b"], "not allowed with argument"),
        (["a", "--schema", __file__], "is no JSON"),
        (["a\udcff"], "is not UTF-8"),
        (["a", "--stop", "\udcff"], "is not UTF-8"),
        (["a", "--file", "b"], "give texts or --file, not both"),
    ],
)
def test_wrong_usage_is_status_2(capsys: pytest.CaptureFixture[str], words: list[str], sentence: str) -> None:
    assert main(["generate", "m", *words]) == 2
    assert sentence in capsys.readouterr().err


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("generate", "chat"):
        assert main([command, "--help"]) == 0
        shown = capsys.readouterr().out
        assert "\n  loquor " in shown
        assert "(default: 600)" in shown
