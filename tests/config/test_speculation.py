"""Speculation: who drafts, how much, by which rule; and vLLM's spellings of it."""

import dataclasses
import pickle
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairdraft import SpeculativeConfig
from fairdraft.errors import ConfigError

NAN = float("nan")


def says(*parts: str) -> str:
    """A pattern for a message that holds these words in this order."""
    return ".*".join(re.escape(part) for part in parts)


@pytest.mark.parametrize("k", [0, -1, 2.0, "4", True, NAN, [4], 513, 10**6])
def test_bad_draft_lengths(k: Any) -> None:
    named = f"num_speculative_tokens is {k!r}"
    with pytest.raises(
        ConfigError, match=says(named, "from 1 to 512", "leave speculative_config out")
    ):
        SpeculativeConfig("ngram", k)
    with pytest.raises(ConfigError, match=says(named)):
        SpeculativeConfig.of({"method": "ngram", "num_speculative_tokens": k})


@pytest.mark.parametrize("method", ["", None, 5])
def test_bad_methods(method: Any) -> None:
    with pytest.raises(ConfigError, match=says(f"method is {method!r}", "such as 'ngram'")):
        SpeculativeConfig(method)


def test_a_mapping_without_method_is_told_so() -> None:
    with pytest.raises(ConfigError, match=says("['num_speculative_tokens']", "'method'", "ngram")):
        SpeculativeConfig.of({"num_speculative_tokens": 4})


@pytest.mark.parametrize("config", ["ngram", 4, [("method", "ngram")]])
def test_what_is_no_mapping_is_shown_one(config: Any) -> None:
    with pytest.raises(ConfigError, match=says(repr(config), '{"method": "ngram"')):
        SpeculativeConfig.of(config)


@pytest.mark.parametrize("config", [{"method": "ngram", 1: 2}, {1: 2, "k": 4}])
def test_keys_that_are_no_strings(config: Any) -> None:
    with pytest.raises(ConfigError):
        SpeculativeConfig.of(config)


def test_vllm_style_mapping() -> None:
    config = SpeculativeConfig.of(
        {"method": "ngram", "num_speculative_tokens": 5, "prompt_lookup_max": 4}
    )
    assert config is not None
    assert (config.method, config.num_speculative_tokens) == ("ngram", 5)
    assert config.model is None
    assert config.options == {"prompt_lookup_max": 4}
    drafted = SpeculativeConfig.of({"method": "draft_model", "model": "org/small"})
    assert drafted is not None
    assert drafted.model == "org/small"
    assert drafted.options == {}


def test_a_config_and_none_pass_as_they_are() -> None:
    config = SpeculativeConfig("ngram", 3, prompt_lookup_min=2)
    assert SpeculativeConfig.of(config) is config
    assert SpeculativeConfig.of(None) is None
    assert "prompt_lookup_min" in repr(config)


@pytest.mark.parametrize("rule", ["standard", "block", "coupled"])
def test_rules_by_vllms_key(rule: str) -> None:
    config = SpeculativeConfig.of({"method": "ngram", "rejection_sample_method": rule})
    assert config is not None
    assert config.rejection_sample_method == rule
    assert config.acceptance_rates == ()


def test_synthetic_acceptance_by_rates_or_length() -> None:
    def rates(**options: Any) -> tuple[float, ...]:
        return SpeculativeConfig(
            "ngram", 3, rejection_sample_method="synthetic", **options
        ).acceptance_rates

    assert rates(synthetic_acceptance_rates=[0.9, 0.5, 0.5]) == (0.9, 0.5, 0.5)
    assert rates(synthetic_acceptance_length=2.5) == (1.0, 0.5, 0.0)
    assert rates(synthetic_acceptance_length=1) == (0.0, 0.0, 0.0)
    assert rates(synthetic_acceptance_length=4) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rejection_sample_method": "typical"}, "one of standard, block, coupled, synthetic"),
        ({"rejection_sample_method": "synthetic"}, "needs either"),
        ({"synthetic_acceptance_length": 2.0}, 'need rejection_sample_method "synthetic"'),
        (
            {"rejection_sample_method": "synthetic", "synthetic_acceptance_length": 9.0},
            "from 1 to 5",
        ),
        (
            {
                "rejection_sample_method": "synthetic",
                "synthetic_acceptance_rates": [0.5, 0.6, 0, 0],
            },
            "none above the one before",
        ),
        (
            {"rejection_sample_method": "synthetic", "synthetic_acceptance_rates": [0.5]},
            "one rate for each of 4",
        ),
        (
            {
                "rejection_sample_method": "synthetic",
                "synthetic_acceptance_rates": [1] * 4,
                "synthetic_acceptance_length": 2,
            },
            "give one of them",
        ),
    ],
)
def test_rules_that_make_no_sense_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SpeculativeConfig("ngram", 4, **options)


def test_a_config_is_a_value() -> None:
    config = SpeculativeConfig("ngram", 3, prompt_lookup_min=2)
    assert config == SpeculativeConfig("ngram", 3, prompt_lookup_min=2)
    assert config != SpeculativeConfig("ngram", 3, prompt_lookup_min=1)
    assert pickle.loads(pickle.dumps(config)) == config
    assert dataclasses.replace(config, num_speculative_tokens=2).options == config.options
    assert SpeculativeConfig("ngram", np.int64(3)).num_speculative_tokens == 3


def test_rules_say_what_they_are() -> None:
    assert SpeculativeConfig("ngram").rule.lossless
    assert SpeculativeConfig("ngram", rejection_sample_method="coupled").rule.shares_noise
    synthetic = SpeculativeConfig(
        "ngram", 2, rejection_sample_method="synthetic", synthetic_acceptance_length=2
    )
    assert not synthetic.rule.lossless


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({}, "lacks 'method'"),
        ({"method": "ngram", "options": 5}, "options is 5"),
        ({"method": "ngram", "options": {5: 6}}, "keys must be strings"),
        ({"method": "ngram", "model": 5}, "model is 5"),
        ({"method": "ngram", "draft_tensor_parallel_size": 2}, "draft_tensor_parallel_size is 2"),
        ({"method": "ngram", "max_model_len": 0}, "max_model_len is 0"),
        ({"method": "ngram", "disable_by_batch_size": 1}, "disable_by_batch_size is 1"),
        (
            {
                "method": "ngram",
                "disable_by_batch_size": 3,
                "num_speculative_tokens_per_batch_size": [[1, 2, 3]],
            },
            "both given",
        ),
        ({"method": "ngram", "num_speculative_tokens_per_batch_size": []}, "must be a list"),
        ({"method": "ngram", "num_speculative_tokens_per_batch_size": [5]}, "has the entry 5"),
        (
            {"method": "ngram", "num_speculative_tokens_per_batch_size": [[1, 4, 9]]},
            "asks for 9 tokens",
        ),
        (
            {
                "method": "ngram",
                "rejection_sample_method": "synthetic",
                "synthetic_acceptance_rates": 5,
            },
            "synthetic_acceptance_rates is 5",
        ),
    ],
)
def test_bad_mappings(config: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        SpeculativeConfig.of(config)


@pytest.mark.parametrize(
    ("config", "method"),
    [
        ({"prompt_lookup_max": 4}, "ngram"),
        ({"suffix_decoding_max_tree_depth": 8}, "suffix"),
        ({"model": "[ngram]", "num_speculative_tokens": 2}, "ngram"),
        ({"model": "ngram", "method": "ngram"}, "ngram"),
        ({"method": "ngram_gpu"}, "ngram"),
        ({"method": "deepseek_mtp"}, "mtp"),
        ({"method": "qwen3_next_mtp"}, "mtp"),
        ({"method": "mtp"}, "mtp"),
        ({"model": "org/head"}, "by_model"),
        ({"model": "org/head", "method": "eagle3"}, "eagle3"),
    ],
)
def test_the_method_in_vllms_spellings(config: dict[str, Any], method: str) -> None:
    found = SpeculativeConfig.of(config)
    assert found is not None
    assert found.method == method
    assert found.model == (config["model"] if "org" in config.get("model", "") else None)


def test_what_vllm_takes_and_is_honoured() -> None:
    pasted = {
        "method": "ngram",
        "draft_tensor_parallel_size": 1,
        "max_model_len": 99,
    }
    assert SpeculativeConfig.of(pasted) == SpeculativeConfig("ngram", max_model_len=99)


def test_the_old_batch_limit_becomes_lengths() -> None:
    config = SpeculativeConfig("ngram", 5, disable_by_batch_size=4)
    assert config.lengths_per_batch_size == ((1, 3, 5), (4, 4, 0))
    assert config.options == {}


keys = st.sampled_from([f.name for f in dataclasses.fields(SpeculativeConfig)]) | st.sampled_from(
    ["self", "disable_by_batch_size", "enforce_eager", "prompt_lookup_max"]
)
values = st.none() | st.booleans() | st.integers(-3, 600) | st.floats() | st.text(max_size=3)
shapes = values | st.lists(values | st.lists(values)) | st.dictionaries(values, values)


@settings(deadline=None)
@given(st.dictionaries(keys | st.text(max_size=3), shapes))
def test_whatever_comes_is_kept_or_refused(mapping: dict[str, Any]) -> None:
    try:
        config = SpeculativeConfig.of(mapping)
    except ConfigError as error:
        assert str(error)  # noqa: PT017
        return
    assert config is not None
    assert config.method
    assert 1 <= config.num_speculative_tokens <= 512
