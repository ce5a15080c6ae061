"""The load tool: its two loops, its bounds, and what it makes of the samples."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import loquor
from loquor.__main__ import main
from loquor.cli.load import NOT_SENT, OK, Bounds, Run, Sample, Work, Writing
from loquor.cli.report import Report, percentile
from loquor.cli.workload import made_up_texts

WORK = Work(2, 10, batch_size=3)


async def test_a_closed_loop_keeps_so_many_under_way_and_stops_at_its_number() -> None:
    under_way = most = 0

    async def call(number: int) -> Work:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.001)
        under_way -= 1
        return WORK

    run = Run(call, Bounds(10, 50))
    await run.closed_loop(4)
    assert (most, len(run.samples)) == (4, 50)


async def test_a_closed_loop_stops_at_its_time() -> None:
    async def call(number: int) -> Work:
        await asyncio.sleep(0.01)
        return WORK

    run = Run(call, Bounds(0.1, 10**6))
    await run.closed_loop(2)
    assert 0.1 <= run.elapsed < 2
    assert run.samples


async def test_a_stall_shows_in_every_request_that_fell_due_meanwhile() -> None:
    """One second of requests at 200/s against a server that answers nobody for the first half of it."""
    started = time.perf_counter()

    async def call(number: int) -> Work:
        await asyncio.sleep(max(0.0, started + 0.5 - time.perf_counter()))
        return WORK

    run = Run(call, Bounds(1.0, 10**6))
    await run.open_loop(200, 8, seed=3)
    report = Report("", run.samples, run.elapsed)
    assert 140 < len(run.samples) < 260
    # Of latencies spread evenly from 0.5 s to 0 over half of the requests, the median of all is near 0, p90 near 0.4.
    assert (percentile(report.latencies, 90) or 0) > 0.3
    assert (percentile(report.latencies, 25) or 0) < 0.2


async def test_what_cannot_be_sent_in_time_is_counted_as_that() -> None:
    async def call(number: int) -> Work:
        await asyncio.sleep(0.2)
        return WORK

    run = Run(call, Bounds(0.3, 10**6))
    await run.open_loop(200, 2, seed=1)
    assert run.elapsed < 2
    report = Report("", run.samples, run.elapsed)
    assert report.errors[NOT_SENT] > 10
    assert len(report.answered) == 4


async def test_errors_are_counted_by_status() -> None:
    async def call(number: int) -> Work:
        await asyncio.sleep(0)
        if number % 2:
            raise loquor.Unavailable("no")
        return WORK

    run = Run(call, Bounds(5, 10))
    await run.closed_loop(1)
    report = Report("t", run.samples, run.elapsed)
    assert report.errors == {"UNAVAILABLE": 5}
    assert report.as_json()["answered"] == 5
    assert "errors       UNAVAILABLE 5" in report.as_text()


@given(st.lists(st.floats(0, 100), min_size=1, max_size=200), st.sampled_from([50, 90, 95, 99]))
def test_a_percentile_is_the_least_value_that_so_many_do_not_exceed(values: list[float], rank: int) -> None:
    ordered = sorted(values)
    found = percentile(ordered, rank)
    assert found is not None
    assert sum(value <= found for value in ordered) * 100 >= rank * len(ordered)
    assert sum(value < found for value in ordered) * 100 < rank * len(ordered)


def test_a_report_counts_requests_texts_and_tokens() -> None:
    samples = [Sample(0.1 * n, 0.0, 0.01 * (n + 1), OK, WORK) for n in range(10)]
    values = Report("t", samples, 2.0).as_json()
    assert (values["requests_per_second"], values["texts_per_second"], values["tokens_per_second"]) == (5, 10, 50)
    assert values["latency_seconds"]["p50"] == 0.05
    assert values["latency_seconds"]["max"] == 0.1
    assert Report("t", [], 1.0).as_json()["latency_seconds"]["p99"] is None


def test_made_up_texts_are_the_same_each_time_and_of_many_lengths() -> None:
    texts = made_up_texts()
    lengths = sorted(len(text.split()) for text in texts)
    assert texts == made_up_texts()
    assert (lengths[0] >= 3, lengths[-1] <= 200, lengths[-1] > 5 * lengths[len(lengths) // 2]) == (True, True, True)


def test_bench_prints_json_and_draws(server: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "run.png"
    words = ["bench", "minilm", "--address", server.address, "--warm-up", "0", "--requests", "40", "--batch-size", "2"]
    assert main([*words, "--json", "--plot", str(picture)]) == 0
    values = json.loads(capsys.readouterr().out)
    assert (values["answered"], values["errors"]) == (40, {})
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert main([*words, "--rate", "500", "--texts", __file__]) == 0
    assert "500 requests/s, 2 texts a request" in capsys.readouterr().out


def test_a_report_of_what_was_written_counts_from_when_it_was_due() -> None:
    writing = Writing(tokens=4, first_seconds=0.2, gaps_seconds=(0.01, 0.02, 0.03))
    samples = [Sample(0.0, 0.1, 0.5, OK, Work(1, 10, writing=writing))] * 5
    values = Report("t", samples, 2.0).as_json()
    assert values["output_tokens_per_second"] == 10
    assert values["time_to_first_token_seconds"]["p50"] == 0.3
    assert [values["inter_token_seconds"][name] for name in ("p50", "max", "mean")] == [0.02, 0.03, 0.02]
    shown = Report("t", samples, 2.0).as_text()
    assert "  written      10.0 tokens/s\n  first token  p50 300.0 ms" in shown
    assert "inter_token_seconds" not in Report("t", [Sample(0.0, 0.0, 0.5, OK, WORK)], 1.0).as_json()


def test_bench_of_a_model_that_writes(server: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "run.png"
    words = ["bench", "smollm2", "--address", server.address, "--warm-up", "0", "--requests", "20"]
    assert main([*words, "--max-tokens", "3", "--json", "--plot", str(picture)]) == 0
    values = json.loads(capsys.readouterr().out)
    assert (values["answered"], values["errors"]) == (20, {})
    assert values["output_tokens_per_second"] == pytest.approx(3 * values["requests_per_second"], rel=0.01)
    assert 0 < values["time_to_first_token_seconds"]["p50"] < values["latency_seconds"]["max"]
    assert picture.read_bytes().startswith(b"\x89PNG")
    sampling = server.requests[-1].sampling
    assert (sampling.max_tokens, sampling.ignore_eos) == (3, True)
    assert main([*words, "--rate", "500"]) == 0
    assert "inter-token  p50" in capsys.readouterr().out
    assert main([*words, "--batch-size", "2"]) == 2
    assert "sent one prompt a request" in capsys.readouterr().err
