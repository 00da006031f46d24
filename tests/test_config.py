"""Every bad value is refused with a message that names it and says what to do instead."""

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairdraft import SamplingParams, SpeculativeConfig
from fairdraft.config import EngineConfig
from fairdraft.errors import ConfigError

untimed = settings(deadline=None)
NAN, INF = float("nan"), float("inf")


def says(*parts: str) -> str:
    """A pattern for a message that holds these words in this order."""
    return ".*".join(re.escape(part) for part in parts)


# --- SamplingParams


@pytest.mark.parametrize(
    ("values", "named", "remedy"),
    [
        ({"n": 0}, "n is 0", "at least one completion"),
        ({"n": 1.5}, "n is 1.5", "at least one completion"),
        ({"n": True}, "n is True", "at least one completion"),
        ({"temperature": -0.1}, "temperature is -0.1", "0 is greedy"),
        ({"temperature": NAN}, "temperature is nan", "0 is greedy"),
        ({"temperature": INF}, "temperature is inf", "0 is greedy"),
        ({"temperature": "hot"}, "temperature is 'hot'", "0 is greedy"),
        ({"temperature": None}, "temperature is None", "0 is greedy"),
        ({"temperature": True}, "temperature is True", "0 is greedy"),
        ({"top_k": -2}, "top_k is -2", "0 or -1 keeps every token"),
        ({"top_k": 2.0}, "top_k is 2.0", "0 or -1 keeps every token"),
        ({"top_p": 0}, "top_p is 0", "1 keeps all"),
        ({"top_p": 0.0}, "top_p is 0.0", "1 keeps all"),
        ({"top_p": 1.5}, "top_p is 1.5", "1 keeps every token"),
        ({"top_p": -0.5}, "top_p is -0.5", "1 keeps every token"),
        ({"top_p": NAN}, "top_p is nan", "1 keeps every token"),
        ({"min_p": -0.01}, "min_p is -0.01", "0 keeps every token"),
        ({"min_p": 1.01}, "min_p is 1.01", "0 keeps every token"),
        ({"min_p": NAN}, "min_p is nan", "0 keeps every token"),
        ({"seed": -1}, "seed is -1", "None"),
        ({"seed": 0.5}, "seed is 0.5", "None"),
        ({"repetition_penalty": 0}, "repetition_penalty is 0", "1 is off"),
        ({"repetition_penalty": -1.0}, "repetition_penalty is -1.0", "1 is off"),
        ({"repetition_penalty": NAN}, "repetition_penalty is nan", "1 is off"),
        ({"presence_penalty": INF}, "presence_penalty is inf", "0 is off"),
        ({"frequency_penalty": "1"}, "frequency_penalty is '1'", "0 is off"),
        ({"logit_bias": {-1: 0.0}}, "logit_bias is -1", "keys are token ids"),
        ({"logit_bias": {"the": 1.0}}, "logit_bias is 'the'", "keys are token ids"),
        ({"logit_bias": {3: -INF}}, "logit_bias[3] is -inf", "use -100"),
        ({"logit_bias": {3: None}}, "logit_bias[3] is None", "use -100"),
        ({"min_tokens": -1}, "min_tokens is -1", "0 is off"),
        ({"max_tokens": 0}, "max_tokens is 0", "None for no limit"),
        ({"max_tokens": 2.5}, "max_tokens is 2.5", "None for no limit"),
        (
            {"min_tokens": 9, "max_tokens": 8},
            "min_tokens is 9, above max_tokens 8",
            "lower the first or raise the second",
        ),
        ({"min_tokens": 17}, "min_tokens is 17, above max_tokens 16", "raise the second"),
        ({"logprobs": -1}, "logprobs is -1", "None"),
        ({"stop": ""}, "stop is ''", "leave empty ones out"),
        ({"stop": ["end", ""]}, "stop is ['end', '']", "leave empty ones out"),
        ({"stop": [7]}, "stop is [7]", "non-empty strings"),
        ({"bad_words": ("fie", "")}, "bad_words is ('fie', '')", "leave empty ones out"),
        ({"stop_token_ids": [2, -3]}, "stop_token_ids is -3", "entries are token ids"),
        ({"stop_token_ids": ["</s>"]}, "stop_token_ids is '</s>'", "entries are token ids"),
    ],
)
def test_bad_sampling_values(values: dict[str, Any], named: str, remedy: str) -> None:
    with pytest.raises(ConfigError, match=says(named, remedy)):
        SamplingParams(**values)


@pytest.mark.parametrize(
    "values",
    [
        {"logit_bias": [1, 2]},
        {"stop": 5},
        {"stop_token_ids": 5},
        {"bad_words": 5},
        {"temperature": 10**400},
    ],
)
def test_values_of_a_wrong_shape(values: dict[str, Any]) -> None:
    (name,) = values
    with pytest.raises(ConfigError, match=name):
        SamplingParams(**values)


@pytest.mark.parametrize(
    "values",
    [
        {"temperature": 0},
        {"temperature": 0.7, "top_k": -1},
        {"top_k": 10**6, "top_p": 1, "min_p": 1},
        {"top_p": 1e-9, "min_p": 0},
        {"min_tokens": 8, "max_tokens": 8},
        {"min_tokens": 100, "max_tokens": None},
        {"seed": 0, "n": 4, "logprobs": 0},
        {"logit_bias": {0: -100, 5: 2.5}},
        {"presence_penalty": -2.0, "frequency_penalty": 2, "repetition_penalty": 0.8},
        {"stop_token_ids": (1, 2), "ignore_eos": True},
    ],
)
def test_good_sampling_values_are_kept(values: dict[str, Any]) -> None:
    params = SamplingParams(**values)
    assert {name: getattr(params, name) for name in values} == values


def test_one_stop_string_is_a_list_of_one() -> None:
    assert SamplingParams(stop="end").stop_strings == ("end",)
    assert SamplingParams(stop=["a", "b"]).stop_strings == ("a", "b")
    assert tuple(SamplingParams(bad_words="fie").bad_words) == ("fie",)
    assert SamplingParams().stop_strings == ()


@pytest.mark.parametrize("name", ["stop", "stop_token_ids", "bad_words"])
def test_none_leaves_a_list_empty_as_in_vllm(name: str) -> None:
    assert tuple(getattr(SamplingParams(**{name: None}), name)) == ()


@pytest.mark.parametrize(("temperature", "greedy"), [(0, True), (0.0, True), (1e-3, False)])
def test_temperature_zero_is_greedy(temperature: float, greedy: bool) -> None:
    assert SamplingParams(temperature=temperature).greedy is greedy


@untimed
@given(name=st.sampled_from(["top_p", "min_p"]), value=st.floats())
def test_shares_pass_exactly_within_their_bounds(name: str, value: float) -> None:
    least_ok = value > 0 if name == "top_p" else value >= 0
    if least_ok and value <= 1:
        assert getattr(SamplingParams(**{name: value}), name) == value  # type: ignore[arg-type]
    else:
        with pytest.raises(ConfigError, match=f"{name} is {re.escape(repr(value))}.*keeps"):
            SamplingParams(**{name: value})  # type: ignore[arg-type]


# --- SpeculativeConfig


@pytest.mark.parametrize("k", [0, -1, 2.0, "4", True, NAN, [4]])
def test_bad_draft_lengths(k: Any) -> None:
    named = f"num_speculative_tokens is {k!r}"
    with pytest.raises(
        ConfigError, match=says(named, "at least 1", "leave speculative_config out")
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


# --- EngineConfig


@pytest.mark.parametrize(
    ("values", "named", "remedy"),
    [
        ({"model": ""}, "model is ''", "'demo'"),
        ({"model": None}, "model is None", "'demo'"),
        ({"dtype": "int8"}, "dtype is 'int8'", "auto, float32, bfloat16, float16"),
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


# --- the rule


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
