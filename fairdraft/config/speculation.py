"""Who drafts, how much, and by which rule drafts are verified."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from typing import Annotated, Any

from pydantic import SkipValidation, model_validator
from pydantic_core import ArgsKwargs

from fairdraft.config import vllm
from fairdraft.config.checks import plain, refusal, require, require_int, require_number, shown
from fairdraft.config.fields import OneOf, Text, Whole, checked
from fairdraft.verification import RULES, Rule, rule_named

DEFAULT_LENGTH = 4
DEFAULT_LENGTHS = {"auto": 8}
MAX_LENGTH = 512  # of a draft: more never pays, and a step reserves slots for all of it


@checked
class SpeculativeConfig:
    """Which proposer drafts, and how many tokens a step at most. Keys are vLLM's.

    The method's own keys, prompt_lookup_max for example, are given beside the fields, as in vLLM;
    they are kept in `options`, and the method's proposer checks them. What other spellings of vLLM
    mean here is said in `fairdraft.config.vllm`.

    Raises:
        ConfigError: a value is out of range.
    """

    method: Annotated[str, Text("a proposer's name, such as 'ngram', or 'off'")]
    """name of a registered proposer, such as "ngram"; "off" drafts nothing, for a run without
    speculation under the same rule; "by_model" is what the model's own config.json names, else
    "draft_model". Left out it follows from the other keys."""

    num_speculative_tokens: Annotated[
        int, Whole(1, "to turn speculation off, leave speculative_config out", MAX_LENGTH)
    ] = DEFAULT_LENGTH
    """draft length k, from 1 to 512; None takes 4, and 8 for "auto", where it is the most that a
    request may draft."""

    model: Annotated[str, Text("a checkpoint's name, or None")] | None = None
    """the drafter's checkpoint, for methods that need one."""

    rejection_sample_method: Annotated[str, OneOf(tuple(RULES))] = "standard"
    """which rule verifies drawn drafts: "standard", "block" (chains only, keeps more), "coupled"
    (tokens depend on the seed alone, not on drafter, k or batch), or "synthetic" (acceptance by
    decree: for measuring costs; the text is wrong)."""

    synthetic_acceptance_rates: Annotated[Sequence[float] | None, SkipValidation] = None
    """for "synthetic": entry i is the share of rounds whose first i + 1 draft tokens stand;
    non-increasing, in [0, 1]."""

    synthetic_acceptance_length: Annotated[float | None, SkipValidation] = None
    """for "synthetic", instead: the mean acceptance length, bonus token included, from 1 to
    k + 1."""

    num_speculative_tokens_per_batch_size: Annotated[
        Sequence[Sequence[int]] | None, SkipValidation
    ] = None
    """[[first, last, k], …]: the draft length while so many requests decode, 0 allowed; ranges
    ascend from 1 without gaps, and the last one holds beyond its end. None takes
    num_speculative_tokens always."""

    max_model_len: Annotated[int, Whole(1, "or None for the target's")] | None = None
    """draft tokens lie before this position; requests that have reached it get no drafts. None is
    no limit of its own."""

    options: Annotated[Mapping[str, Any], SkipValidation] = field(default_factory=dict)
    """the method's own keys."""

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, data: Any) -> Any:
        """Fill in what follows from other keys, and gather the method's own keys in `options`."""
        names = [f.name for f in dataclasses.fields(cls)]
        if isinstance(data, ArgsKwargs):
            if set(names[: len(data.args)]) & set(data.kwargs or ()) or len(data.args) > len(names):
                return data  # for pydantic to refuse
            given = {**dict(zip(names, data.args, strict=False)), **(data.kwargs or {})}
        elif isinstance(data, Mapping):
            given = dict(data)
        else:
            return data
        given = vllm.translated(given)
        if given.get("num_speculative_tokens") is None:
            length = DEFAULT_LENGTHS.get(str(given["method"]), DEFAULT_LENGTH)
            given["num_speculative_tokens"] = length
        given = vllm.with_lengths(given)
        options = given.pop("options", {})
        require(
            isinstance(options, Mapping),
            f"options is {shown(options)}, but must map the method's own keys to values",
        )
        own = {name: value for name, value in given.items() if name not in names}
        fields = {name: value for name, value in given.items() if name in names}
        return {**fields, "options": {**options, **own}}

    def __post_init__(self) -> None:
        put = object.__setattr__
        require(
            all(isinstance(key, str) for key in self.options),
            f"speculative_config has the keys {shown(list(self.options))}, but keys must be "
            "strings",
        )
        put(self, "synthetic_acceptance_rates", _rates(self))
        lengths = self.num_speculative_tokens_per_batch_size
        if lengths is not None:
            listed = _lengths(self.num_speculative_tokens, lengths)
            put(self, "num_speculative_tokens_per_batch_size", listed)

    @property
    def rule(self) -> Rule:
        """The rule that `rejection_sample_method` names."""
        return rule_named(self.rejection_sample_method, self.acceptance_rates)

    @property
    def acceptance_rates(self) -> tuple[float, ...]:
        """The acceptance rates asked for, by position; none unless acceptance is by decree."""
        k, length = self.num_speculative_tokens, self.synthetic_acceptance_length
        if length is not None:
            # The first tokens stand always, the next one as often as is left: least variance, as
            # in vLLM and SGLang.
            return tuple(min(max(length - 1 - i, 0.0), 1.0) for i in range(k))
        return tuple(self.synthetic_acceptance_rates or ())

    @property
    def lengths_per_batch_size(self) -> tuple[tuple[int, int, int], ...]:
        """`num_speculative_tokens_per_batch_size` as triples; none if it is not given."""
        given = self.num_speculative_tokens_per_batch_size or ()
        return tuple((first, last, k) for first, last, k in given)

    @classmethod
    def of(cls, config: SpeculativeConfig | Mapping[str, Any] | None) -> SpeculativeConfig | None:
        """Accept what `LLM(speculative_config=…)` accepts: a config, a mapping, or None."""
        if config is None or isinstance(config, SpeculativeConfig):
            return config
        require(
            isinstance(config, Mapping),
            f"speculative_config is {shown(config)}, but must be a mapping such as "
            '{"method": "ngram", "num_speculative_tokens": 4}',
        )
        require(
            all(isinstance(key, str) for key in config),
            f"speculative_config has the keys {shown(list(config))}, but keys must be strings",
        )
        return cls(**config)


def _rates(config: SpeculativeConfig) -> tuple[float, ...] | None:
    """`synthetic_acceptance_rates` as a tuple, once they and the length are checked."""
    rates, length = config.synthetic_acceptance_rates, config.synthetic_acceptance_length
    k, given = config.num_speculative_tokens, (rates is not None) + (length is not None)
    if RULES[config.rejection_sample_method].lossless:
        require(
            not given,
            "synthetic_acceptance_rates and synthetic_acceptance_length make a text that is "
            'not the target\'s: they need rejection_sample_method "synthetic" beside them',
        )
        return None
    require(
        given == 1,
        'rejection_sample_method "synthetic" needs either synthetic_acceptance_rates or '
        "synthetic_acceptance_length: give one of them",
    )
    if rates is None:
        require_number("synthetic_acceptance_length", length, 1, k + 1, "k + 1 accepts all")
        return None
    listed = isinstance(rates, Iterable) and not isinstance(rates, (str, bytes, Mapping))
    remedy = "1 accepts all"
    require(listed, refusal("synthetic_acceptance_rates", rates, "a list of numbers", remedy))
    entries = tuple(map(plain, rates))
    for rate in entries:
        require_number("an entry of synthetic_acceptance_rates", rate, 0, 1, remedy)
    require(
        len(entries) == k and entries == tuple(sorted(entries, reverse=True)),
        f"synthetic_acceptance_rates is {shown(list(entries))}, but must hold one rate for each "
        f"of {k} positions, none above the one before it",
    )
    return entries


def _lengths(k: int, given: Any) -> tuple[tuple[int, int, int], ...]:
    """`num_speculative_tokens_per_batch_size` as triples."""
    name = "num_speculative_tokens_per_batch_size"
    form = "[[1, 4, 3], [5, 16, 1], [17, 64, 0]]: first and last batch size, draft length"
    require(_is_list(given) and len(given) > 0, refusal(name, given, f"a list such as {form}", ""))
    expected = 1
    triples = []
    for entry in given:
        whole = _is_list(entry) and len(entry) == 3
        require(whole, f"{name} has the entry {shown(entry)}, but entries are as in {form}")
        first, last, length = map(plain, entry)
        for value in (first, last, length):
            require_int(f"a number of {name}", value, 0, f"write it like {form}")
        require(
            first == expected and last >= first,
            f"{name} goes on with batch sizes {shown(first)} to {shown(last)} where "
            f"{shown(expected)} comes next: leave no gap and no overlap, and begin with 1",
        )
        require(
            length <= k,
            f"{name} asks for {shown(length)} tokens, above num_speculative_tokens = {k}: raise "
            "that",
        )
        expected = last + 1
        triples.append((first, last, length))
    return tuple(triples)


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))
