"""The command line against a server that is told how to answer: what is printed, and the exit status."""

import io
import json
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any

import grpc
import pytest

from loquor.__main__ import main
from loquor.cli import serve

INTERRUPTED = 130


@pytest.fixture(autouse=True)
def address(server: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("LOQUOR_ADDRESS", server.address)
    return str(server.address)


def lines(capsys: pytest.CaptureFixture[str]) -> list[Any]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_embed_prints_a_table_or_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["embed", "minilm", "first", "a second"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].split() == ["index", "tokens", "dimensions", "length", "values", "text"]
    assert shown[2].endswith("a second")
    assert main(["embed", "minilm:2", "first", "--json", "a second", "--", "--third"]) == 0
    answers = lines(capsys)
    assert [answer["index"] for answer in answers] == [0, 1, 2]
    assert answers[2]["embedding"][0] == len("--third")


def test_classify_prints_labels_of_texts_and_pairs(capsys: pytest.CaptureFixture[str], server: Any) -> None:
    assert main(["classify", "m", "--json", "--top-k", "1", "a"]) == 0
    assert lines(capsys)[0]["labels"] == [{"label": "yes", "score": 0.75}]
    assert main(["classify", "m", "--pair", "a", "b", "c", "d"]) == 0
    assert [item.text_pair for item in server.requests[-1].inputs] == ["b", "d"]
    assert "a | b" in capsys.readouterr().out
    assert main(["classify", "m", "--pair", "a", "b", "c"]) == 2
    assert "takes two texts for each pair" in capsys.readouterr().err


def test_tag_prints_spans(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tag", "m", "Curie", "--min-score", "0.5"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split() == ["0", "ALL", "1.0000", "0", "5", "Curie"]


def test_texts_come_from_a_file_or_stdin(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "texts.txt"
    path.write_bytes("eins\r\nzwei\nüber drei".encode())
    assert main(["embed", "m", "--json", "--file", str(path), "--batch-size", "2"]) == 0
    assert [answer["tokens"] for answer in lines(capsys)] == [4, 4, 9]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"one\ttwo\n")))
    assert main(["classify", "m", "--json", "--pair"]) == 0
    assert lines(capsys)[0]["tokens"] == 2
    path.write_bytes(b"ok\n\xff\n")
    assert main(["embed", "m", "--file", str(path)]) == 1
    assert "line 2 is not UTF-8" in capsys.readouterr().err


def test_models_are_listed_loaded_and_unloaded(capsys: pytest.CaptureFixture[str], server: Any) -> None:
    assert main(["models", "list"]) == 0
    _, _, second = capsys.readouterr().out.splitlines()
    assert second.split() == ["rampart", "2", "ready", "embed", "float32", "cpu", "1/1", "0"]
    assert main(["models", "list", "--json"]) == 0
    assert lines(capsys)[0]["inputs"] == [{"name": "x", "data_type": "FLOAT32", "shape": [-1, 4]}]
    assert main(["models", "load", "minilm:3", "--wait-seconds", "100"]) == 0
    assert capsys.readouterr().out == "minilm version 3 is ready\n"
    assert 90 < server.deadlines[-1] < 101
    assert main(["models", "unload", "minilm"]) == 0
    assert capsys.readouterr().out == "minilm is unloaded\n"


def test_import_publishes_a_folder(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["models", "import", str(tmp_path / "absent"), "--repository", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith(f"loquor: {tmp_path}/absent")
    assert main(["models", "pull", "no-such-model", "--repository", str(tmp_path)]) == 2
    assert "known are minilm" in capsys.readouterr().err
    assert main(["models", "pull"]) == 0
    assert "minilm" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "required: COMMAND"),
        (["nonsense"], "invalid choice: 'nonsense'"),
        (["embed"], "required: MODEL"),
        (["embed", ":3"], "':3' is no NAME or NAME:VERSION"),
        (["embed", "m", "a", "--nope"], "unrecognized arguments: --nope"),
        (["models", "list", "extra"], "unrecognized arguments: extra"),
        (["embed", "m", "a", "--batch-size", "0"], "'0' is no whole number from 1"),
        (["embed", "m", "a", "--address", "nowhere"], "address: 'nowhere' takes host:port"),
        (["embed", "m", "a", "--deadline-seconds", "soon"], "--deadline-seconds: 'soon' is not a number"),
        (["embed", "m", "a", "--file", "b"], "give texts or --file, not both"),
        (["bench", "m", "--rate", "1", "--concurrency", "2"], "not allowed with argument"),
        (["bench", "m", "--plot", "x.jpeg"], "takes a name that ends in one of .png"),
        (["bench", "m", "--address", "nowhere"], "address: 'nowhere' takes host:port"),
    ],
)
def test_wrong_usage_is_status_2(capsys: pytest.CaptureFixture[str], words: list[str], sentence: str) -> None:
    assert main(words) == 2
    assert sentence in capsys.readouterr().err


def test_a_failed_call_is_status_1_and_one_sentence(capsys: pytest.CaptureFixture[str], server: Any) -> None:
    server.failures.append((grpc.StatusCode.NOT_FOUND, ()))
    assert main(["tag", "m", "a"]) == 1
    shown = capsys.readouterr()
    assert shown.err.startswith("loquor: NOT_FOUND: told to fail (request ")
    assert shown.err.count("\n") == 1
    assert shown.out == ""


def test_a_file_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    for flag in ("--file", "--tls-ca", "--key-file"):
        assert main(["embed", "m", flag, "/no/such"]) == 1
        assert capsys.readouterr().err == "loquor: /no/such: No such file or directory\n"


def test_the_key_comes_from_the_environment_or_a_file(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LOQUOR_KEY", "from-environment")
    assert main(["models", "list"]) == 0
    (tmp_path / "key").write_text("from-file\n")
    assert main(["models", "list", "--key-file", str(tmp_path / "key")]) == 0
    sent = [metadata["authorization"] for _, metadata in server.calls]
    assert sent == ["Bearer from-environment", "Bearer from-file"]
    assert main(["models", "list", "--address", "elsewhere:1"]) == 2
    assert "from-environment" not in capsys.readouterr().err


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == "loquor 0.1.0\n"
    for words in (["--help"], ["embed", "-h"], ["classify", "-h"], ["tag", "-h"], ["bench", "-h"], ["models", "-h"]):
        assert main(words) == 0
        assert "\n  loquor " in capsys.readouterr().out


def test_serve_without_its_extra_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve, "find_spec", lambda name: None)
    assert main(["serve"]) == 1
    assert capsys.readouterr().err == "loquor serve needs the server: pip install 'loquor[all]'\n"


def test_serve_hands_its_flags_to_the_server(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["serve", "--help"])
    assert left.value.code == 0
    assert "--metrics-address" in capsys.readouterr().out


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "loquor", *words]


def test_ctrl_c_is_130_without_a_traceback(server: Any, address: str) -> None:
    server.before_answer = lambda: time.sleep(0.5)
    running = subprocess.Popen(
        command("bench", "minilm", "--warm-up", "0"), stderr=subprocess.PIPE, text=True, env=os.environ
    )
    while not server.calls:
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=20)
    assert (running.returncode, err) == (INTERRUPTED, "")


def test_a_reader_that_leaves_is_no_error(address: str) -> None:
    texts = "\n".join(["text"] * 3000)
    piped = f"{sys.executable} -m loquor embed m --json | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", piped], input=texts, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[1] == "0"
    assert done.stderr == ""


def test_a_bar_is_shown_where_somebody_watches(address: str, tmp_path: Path) -> None:
    (tmp_path / "texts").write_text("a\n" * 100)
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    words = command("embed", "m", "--json", "--file", str(tmp_path / "texts"))
    done = subprocess.run(words, stdout=subprocess.DEVNULL, stderr=theirs, check=False)
    os.close(theirs)
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    assert done.returncode == 0
    assert "100/100" in shown
