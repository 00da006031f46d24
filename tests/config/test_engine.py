"""The engine's own limits, and what a KV pool may take."""

import dataclasses
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from fairdraft.config import EngineConfig
from fairdraft.errors import ConfigError


def says(*parts: str) -> str:
    """A pattern for a message that holds these words in this order."""
    return ".*".join(re.escape(part) for part in parts)


@pytest.mark.parametrize(
    ("values", "named", "remedy"),
    [
        ({"model": ""}, "model is ''", "'demo'"),
        ({"model": None}, "model is None", "'demo'"),
        ({"dtype": "int8"}, "dtype is 'int8'", "auto, float32, bfloat16, float16"),
        ({"dtype": ["float32"]}, "dtype is ['float32']", "auto, float32, bfloat16, float16"),
        ({"device": "cuda:x"}, "device is 'cuda:x'", "cuda:N"),
        ({"device": 5}, "device is 5", "cuda:N"),
        ({"batch_invariant": 1}, "batch_invariant is 1", "True, False or None"),
        ({"enable_prefix_caching": None}, "enable_prefix_caching is None", "True or False"),
        ({"max_num_seqs": 0}, "max_num_seqs is 0", "one request must be able to run"),
        ({"max_num_seqs": True}, "max_num_seqs is True", "one request must be able to run"),
        ({"block_size": 0}, "block_size is 0", "16 is usual"),
        ({"block_size": 16.0}, "block_size is 16.0", "16 is usual"),
        ({"seed": -1}, "seed is -1", "any whole number from 0 on"),
        ({"max_num_batched_tokens": 7}, "max_num_batched_tokens is 7", "max_num_seqs=8"),
        ({"max_model_len": 0}, "max_model_len is 0", "None for the default"),
        ({"num_gpu_blocks_override": -5}, "num_gpu_blocks_override is -5", "None for the default"),
        ({"kv_cache_memory_bytes": 1e9}, "kv_cache_memory_bytes is 1000000000.0", "None"),
    ],
)
def test_bad_engine_values(values: dict[str, Any], named: str, remedy: str) -> None:
    with pytest.raises(ConfigError, match=says(named, remedy)):
        EngineConfig(**{"model": "demo", **values})


def test_an_unknown_option_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="unknown option 'tensor_parallel_size'") as caught:
        EngineConfig.of("demo", None, tensor_parallel_size=2)
    known = str(caught.value).partition("takes ")[2].split(", ")
    for name in ("max_num_seqs", "block_size", "enable_prefix_caching", "dtype", "seed"):
        assert name in known
        assert EngineConfig.of("demo", None, **{name: getattr(EngineConfig("demo"), name)})


def test_llm_arguments_become_a_config() -> None:
    config = EngineConfig.of(
        "demo", {"method": "ngram", "num_speculative_tokens": 2}, max_num_seqs=4, seed=7
    )
    assert (config.model, config.max_num_seqs, config.seed) == ("demo", 4, 7)
    assert config.speculative_config is not None
    assert config.speculative_config.num_speculative_tokens == 2
    assert EngineConfig.of("demo", None).speculative_config is None


def test_a_bad_speculative_config_is_refused_through_the_engine_too() -> None:
    with pytest.raises(ConfigError, match="num_speculative_tokens is 0"):
        EngineConfig.of("demo", {"method": "ngram", "num_speculative_tokens": 0})


def test_a_step_holds_a_token_of_every_request() -> None:
    assert EngineConfig("demo", max_num_seqs=32, max_num_batched_tokens=32).max_num_seqs == 32
    with pytest.raises(ConfigError, match="at least 33"):
        EngineConfig("demo", max_num_seqs=33, max_num_batched_tokens=32)


def test_invariance_is_left_open_by_default() -> None:
    assert EngineConfig("demo").batch_invariant is None
    assert EngineConfig("demo", batch_invariant=True).batch_invariant is True


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:1"])
def test_devices(device: str) -> None:
    assert EngineConfig("demo", device=device).device == device


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"num_gpu_blocks_override": 10**15}, "num_gpu_blocks_override is 1000000000000000"),
        ({"kv_cache_memory_bytes": 10**18}, "kv_cache_memory_bytes is 1000000000000000000"),
        ({}, "the KV pool of"),
    ],
)
def test_a_pool_beyond_the_memory_is_refused(options: dict[str, Any], named: str) -> None:
    config = EngineConfig("demo", **options)
    with pytest.raises(ConfigError, match=says(named, "there are 8 GiB: lower")):
        config.require_memory(10**15, 0, 8 * 2**30)
    config.require_memory(1_000, 2**20, 8 * 2**30)


def test_the_json_schema_describes_every_field() -> None:
    properties = TypeAdapter(EngineConfig).json_schema()["properties"]
    assert set(properties) == {field.name for field in dataclasses.fields(EngineConfig)}
    assert all(entry["description"] for entry in properties.values())


names = [field.name for field in dataclasses.fields(EngineConfig)]
values = st.none() | st.booleans() | st.integers(-3, 2**70) | st.floats() | st.text(max_size=3)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(names), values | st.lists(values)))
def test_whatever_comes_is_kept_or_refused(options: dict[str, Any]) -> None:
    try:
        config = EngineConfig(**{"model": "demo"} | options)
    except ConfigError as error:
        assert str(error)  # noqa: PT017
        return
    assert config.max_num_batched_tokens >= config.max_num_seqs >= 1
