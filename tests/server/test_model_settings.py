"""The settings of one model: defaults, ranges, and which layer wins."""

import dataclasses

import pytest

from loquor.internal.settings import SettingsError
from loquor_server.model_settings import ModelSettings


def test_the_defaults() -> None:
    assert dataclasses.asdict(ModelSettings.merged()) == {
        "task": None,
        "replicas": 1,
        "device": "auto",
        "dtype": "auto",
        "threads": 0,
        "max_batch_tokens": 0,
        "max_batch_requests": 0,
        "max_queue_delay_seconds": 0.0,
        "max_sequence_tokens": 0,
        "max_texts_per_request": 1024,
        "max_queue_requests": 4096,
        "max_queue_tokens": 1_000_000,
        "kv_cache_bytes": 0,
        "kv_block_tokens": 0,
        "prefix_cache": True,
        "draft_tokens": 0,
        "max_unread_tokens": 4096,
        "slow_reader_seconds": 30.0,
        "step_deadline_seconds": 60.0,
    }


def test_a_later_layer_wins_and_what_it_does_not_say_stays() -> None:
    first = ModelSettings.parse({"replicas": 2, "threads": 3, "task": "embed"}, "first")
    second = ModelSettings.parse({"replicas": 4, "max_queue_delay_seconds": 1}, "second")
    merged = ModelSettings.merged(first, second)
    assert (merged.replicas, merged.threads, merged.task, merged.max_queue_delay_seconds) == (4, 3, "embed", 1.0)


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:0", "cuda:15"])
def test_devices(device: str) -> None:
    assert ModelSettings.parse({"device": device}, "x") == {"device": device}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("replicas", 257),
        ("replicas", "2"),
        ("threads", -1),
        ("threads", 1025),
        ("max_batch_tokens", -1),
        ("max_batch_requests", 2**31),
        ("max_queue_delay_seconds", 61),
        ("max_queue_delay_seconds", float("inf")),
        ("max_sequence_tokens", -1),
        ("max_texts_per_request", 0),
        ("max_queue_requests", 0),
        ("max_queue_tokens", 0),
        ("kv_cache_bytes", -1),
        ("kv_block_tokens", 4097),
        ("prefix_cache", 1),
        ("draft_tokens", 65),
        ("dtype", "int3"),
        ("step_deadline_seconds", 0),
        ("device", "cuda:0 "),
        ("device", 0),
        ("task", ""),
        ("task", 1),
        ("task", ["embed"]),
        ("unknown", 1),
    ],
)
def test_what_cannot_be_used_is_named_with_its_place(key: str, value: object) -> None:
    with pytest.raises(SettingsError, match=rf"^\[models\.minilm\]: .*{key}"):
        ModelSettings.parse({key: value}, "[models.minilm]")
