"""vLLM's spellings that users paste, and what they mean here.

Each is honoured, or told once why it is not needed, or left where it is and then refused as an
unknown key. Read from vLLM's `vllm/config/speculative.py`; `disable_by_batch_size` is of its first
engine, which stopped drafting at that many requests.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from fairdraft.config.checks import require, require_int, shown, tell_once
from fairdraft.errors import ConfigError

BY_MODEL = "by_model"  # the method that the model's own config.json names
METHODS = {"ngram_gpu": "ngram", "[ngram]": "ngram"}
FAMILIES = {"prompt_lookup_": "ngram", "suffix_decoding_": "suffix"}  # keys that name a method
LOOKUPS = ("ngram", "[ngram]")  # "models" that are none
NEEDLESS = {
    "attention_backend": "there is one for each device",
    "disable_log_stats": "counters are always kept",
    "disable_logprobs": "log-probabilities follow from each request's own logprobs",
    "disable_mqa_scorer": "all drafts of a step are verified in one run anyway",
    "disable_padded_drafter_batch": "batches are never padded",
    "enforce_eager": "there are no CUDA graphs to leave out",
    "kv_cache_dtype": "a drafter's KV has the target's precision",
    "moe_backend": "there is one for each device",
    "quantization": "a drafter is loaded in the target's precision",
    "use_local_argmax_reduction": "one device holds the whole vocabulary",
}


def translated(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a speculative config in our own spelling, with a method.

    Args:
        given: keys as the user wrote them.

    Raises:
        ConfigError: no method is named and none follows, or a value cannot be honoured.
    """
    config = dict(given)
    for name in ("draft_tensor_parallel_size", "tensor_parallel_size"):
        size = config.pop(name, None)
        require(
            size is None or (size == 1 and not isinstance(size, bool)),
            f"{name} is {shown(size)}, but a drafter runs on one device: set it to 1, or leave it "
            "out",
        )
    config["method"] = _method(config)
    return config


def without_needless(options: Mapping[str, Any], takes: Collection[str]) -> dict[str, Any]:
    """Return a method's own keys without those of vLLM's that say nothing here; each is told once.

    Args:
        options: keys of `SpeculativeConfig.options`.
        takes: keys that the method takes itself; they stay.
    """
    kept = dict(options)
    for name, reason in NEEDLESS.items():
        if name not in takes and kept.pop(name, None) is not None:
            tell_once(f"{name} of speculative_config is not needed here: {reason}")
    return kept


def _method(config: dict[str, Any]) -> Any:
    """The method's name here; a lookup's "model" is taken out."""
    method, model = config.get("method"), config.get("model")
    if isinstance(model, str) and model in LOOKUPS and method in (None, "ngram", *METHODS):
        del config["model"]
        return "ngram"
    if "method" not in config:
        for prefix, name in FAMILIES.items():
            if any(str(key).startswith(prefix) for key in config):
                return name
        if model is not None:
            return BY_MODEL
        raise ConfigError(
            f"speculative_config has the keys {shown(list(config))}, but lacks 'method': "
            'name a proposer, such as "ngram"'
        )
    if isinstance(method, str):
        return "mtp" if method.endswith("_mtp") else METHODS.get(method, method)
    return method


def with_lengths(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config with `disable_by_batch_size` written as draft lengths per batch size.

    Args:
        given: num_speculative_tokens among its keys.

    Raises:
        ConfigError: it is no number of at least 2, or the lengths are given too.
    """
    config = dict(given)
    limit = config.pop("disable_by_batch_size", None)
    if limit is None:
        return config
    require_int("disable_by_batch_size", limit, 2, "that many requests, and more, get no drafts")
    name = "num_speculative_tokens_per_batch_size"
    require(
        config.get(name) is None,
        f"disable_by_batch_size and {name} are both given: leave the first out",
    )
    k = config["num_speculative_tokens"]
    config[name] = [[1, limit - 1, k], [limit, limit, 0]]
    return config
