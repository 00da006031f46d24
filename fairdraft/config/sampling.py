"""Everything a user may set, checked in one place, under the names vLLM uses."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from fairdraft.errors import ConfigError


class _Shortened(reprlib.Repr):
    def repr_int(self, x: int, level: int) -> str:
        # Python refuses to print integers of more than some thousand digits.
        return super().repr_int(x, level) if x.bit_length() < 1_000 else "a very large integer"


_SHORTENED = _Shortened()
_SHORTENED.maxlist = _SHORTENED.maxtuple = _SHORTENED.maxdict = 8
_SHORTENED.maxstring = _SHORTENED.maxlong = _SHORTENED.maxother = 80


def shown(value: object) -> str:
    """Return the `repr` of any value, broken ones included, cut to what fits a message."""
    return _SHORTENED.repr(value)


def close_match(name: str, known: Iterable[str]) -> str:
    """Return ", did you mean …?" where `name` resembles a known name, else nothing."""
    close = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def require(condition: bool, message: str) -> None:
    """Raise `ConfigError(message)` unless `condition` holds."""
    if not condition:
        raise ConfigError(message)


def require_int(name: str, value: object, least: int, remedy: str) -> None:
    """Raise `ConfigError` unless `value` is a whole number of at least `least`."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    require(
        whole and value >= least,  # type: ignore[operator]
        f"{name} is {value!r}, but must be a whole number of at least {least}: {remedy}",
    )


def require_bool(name: str, value: object) -> None:
    """Raise `ConfigError` unless `value` is True or False."""
    require(isinstance(value, bool), f"{name} is {value!r}, but must be True or False")


def require_number(name: str, value: object, low: float, high: float, remedy: str) -> None:
    """Raise `ConfigError` unless `low <= value <= high`; NaN is not."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    require(
        number and low <= value <= high,  # type: ignore[operator]
        f"{name} is {value!r}, but must be a number from {low:g} to {high:g}: {remedy}",
    )


MIN_TEMPERATURE = 0.01


@dataclass(frozen=True)
class SamplingParams:
    """How one request is sampled and when it ends. Names and meanings are vLLM's.

    Acts on the target's logits in this order: `logit_bias`, `bad_words`, `min_tokens`, penalties,
    `temperature`, `min_p`, `top_k`, `top_p`. Every row of a verification run sees the draft tokens
    before it, so each filter means the same with and without speculation.

    Args:
        n: completions per prompt; n requests that share the prompt's KV blocks.
        temperature: 0 is greedy; the logits are divided by it otherwise. Above 0 it is raised to
            at least 0.01, as in vLLM.
        top_k: keep the k most likely tokens, ties with the k-th included; 0 or -1 keeps all.
        top_p: keep the fewest most likely tokens whose mass reaches top_p; in (0, 1].
        min_p: keep tokens at least min_p times as likely as the likeliest; in [0, 1].
        seed: fixes every draw of the request; None derives one from the engine's seed and the
            request's number.
        repetition_penalty: > 0; divides positive and multiplies negative logits of tokens in the
            prompt or the output (Keskar et al. 2019, arXiv 1909.05858, section 4.1). 1 is off.
        presence_penalty: subtracted once from the logits of tokens in the output.
        frequency_penalty: subtracted from the logits of output tokens, times their count.
        logit_bias: token id -> added to its logit.
        bad_words: strings that must not be generated.
        min_tokens: no EOS, stop token or stop string ends the request before so many tokens.
        max_tokens: at most so many tokens; None means until `max_model_len`.
        stop: strings that end the text; the text is cut before them.
        stop_token_ids: token ids that end the request.
        ignore_eos: do not end at the model's EOS token.
        logprobs: return the log-probabilities of the sampled token and of so many likeliest.
        include_stop_str_in_output: keep the stop string in the text.
        skip_special_tokens: leave special tokens out of the text.

    Raises:
        ConfigError: a value is out of range.
    """

    n: int = 1
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    seed: int | None = None
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] | None = None
    bad_words: Sequence[str] | None = ()
    min_tokens: int = 0
    max_tokens: int | None = 16
    stop: str | Sequence[str] | None = ()
    stop_token_ids: Sequence[int] | None = ()
    ignore_eos: bool = False
    logprobs: int | None = None
    include_stop_str_in_output: bool = False
    skip_special_tokens: bool = True

    def __post_init__(self) -> None:
        require_int("n", self.n, 1, "ask for at least one completion")
        require_number("temperature", self.temperature, 0, 1e4, "0 is greedy, 1 leaves the law")
        if 0 < self.temperature < MIN_TEMPERATURE:  # logits over less than this overflow
            object.__setattr__(self, "temperature", MIN_TEMPERATURE)
        require_int("top_k", self.top_k, -1, "0 or -1 keeps every token")
        require_number("top_p", self.top_p, 0, 1, "1 keeps every token")
        require(self.top_p > 0, f"top_p is {self.top_p!r}, but must be above 0: 1 keeps all")
        require_number("min_p", self.min_p, 0, 1, "0 keeps every token")
        if self.seed is not None:
            require_int("seed", self.seed, 0, "or None for one derived from the engine's seed")
        require_number("repetition_penalty", self.repetition_penalty, 1e-6, 1e6, "1 is off")
        for name in ("presence_penalty", "frequency_penalty"):
            require_number(name, getattr(self, name), -1e3, 1e3, "0 is off")
        if self.logit_bias is not None:
            require(
                isinstance(self.logit_bias, Mapping),
                f"logit_bias is {self.logit_bias!r}, but must map token ids to numbers",
            )
            object.__setattr__(self, "logit_bias", dict(self.logit_bias))
            for token, bias in self.logit_bias.items():
                require_int("a key of logit_bias", token, 0, "keys are token ids")
                require_number(f"logit_bias[{token}]", bias, -1e6, 1e6, "use -100 to forbid it")
        require_int("min_tokens", self.min_tokens, 0, "0 is off")
        if self.max_tokens is not None:
            require_int("max_tokens", self.max_tokens, 1, "or None for no limit of its own")
            require(
                self.min_tokens <= self.max_tokens,
                f"min_tokens is {self.min_tokens}, above max_tokens {self.max_tokens}: "
                "lower the first or raise the second",
            )
        if self.logprobs is not None:
            require_int("logprobs", self.logprobs, 0, "or None for no log-probabilities")
        for name in ("stop", "bad_words", "stop_token_ids"):
            value = getattr(self, name)
            entries = [value] if isinstance(value, str) else value or ()
            require(
                isinstance(entries, Iterable),
                f"{name} is {value!r}, but must be a list: leave it out for none",
            )
            require(
                name == "stop_token_ids" or all(isinstance(e, str) and e for e in entries),
                f"{name} is {value!r}, but must hold non-empty strings: leave empty ones out",
            )
            object.__setattr__(self, name, tuple(entries))
        for token in self.stop_token_ids or ():
            require_int("an entry of stop_token_ids", token, 0, "entries are token ids")
        for name in ("ignore_eos", "include_stop_str_in_output", "skip_special_tokens"):
            require_bool(name, getattr(self, name))

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> SamplingParams:
        """Build from a mapping of sampling parameters.

        Raises:
            ConfigError: a key is unknown, or a value is out of range.
        """
        known = [f.name for f in fields(cls)]
        for name in params:
            if name not in known:
                raise ConfigError(
                    f"unknown sampling parameter {shown(name)}{close_match(str(name), known)}: "
                    f"there are {', '.join(known)}"
                )
        return cls(**params)

    @property
    def greedy(self) -> bool:
        """Whether the likeliest token is taken instead of a draw."""
        return self.temperature == 0

    @property
    def stop_strings(self) -> tuple[str, ...]:
        """`stop` as a tuple, whatever form it was given in."""
        return tuple(self.stop or ())


RULES = ("standard", "block", "coupled", "synthetic")
DEFAULT_LENGTH = 4
DEFAULT_LENGTHS = {"auto": 8}


class SpeculativeConfig:
    """Which proposer drafts, and how many tokens a step at most. Keys are vLLM's.

    Args:
        method: name of a registered proposer, such as "ngram"; "off" drafts nothing, for a run
            without speculation under the same rule.
        num_speculative_tokens: draft length k, at least 1; None takes 4, and 8 for "auto", where it
            is the most that a request may draft.
        num_speculative_tokens_per_batch_size: [[first, last, k], …]: the draft length while so many
            requests decode, 0 allowed; ranges ascend from 1 without gaps, and the last one holds
            beyond its end. None takes num_speculative_tokens always.
        model: the drafter's checkpoint, for methods that need one.
        rejection_sample_method: which rule verifies drawn drafts: "standard", "block" (chains
            only, keeps more), "coupled" (tokens depend on the seed alone, not on drafter, k or
            batch), or "synthetic" (acceptance by decree: for measuring costs; the text is wrong).
        synthetic_acceptance_rates: for "synthetic": entry i is the share of rounds whose first
            i + 1 draft tokens stand; non-increasing, in [0, 1].
        synthetic_acceptance_length: for "synthetic", instead: the mean acceptance length, bonus
            token included, from 1 to k + 1.
        options: the method's own keys, for example prompt_lookup_max; its proposer checks them.

    Raises:
        ConfigError: a value is out of range.
    """

    def __init__(
        self,
        method: str,
        num_speculative_tokens: int | None = None,
        model: str | None = None,
        rejection_sample_method: str = "standard",
        synthetic_acceptance_rates: Sequence[float] | None = None,
        synthetic_acceptance_length: float | None = None,
        num_speculative_tokens_per_batch_size: Sequence[Sequence[int]] | None = None,
        **options: Any,
    ) -> None:
        require(
            isinstance(method, str) and bool(method),
            f"method is {method!r}, but must be a proposer's name, such as 'ngram', or 'off'",
        )
        if num_speculative_tokens is None:
            num_speculative_tokens = DEFAULT_LENGTHS.get(method, DEFAULT_LENGTH)
        require_int(
            "num_speculative_tokens",
            num_speculative_tokens,
            1,
            "to turn speculation off, leave speculative_config out",
        )
        require(
            model is None or isinstance(model, str),
            f"model is {model!r}, but must be a checkpoint's name, or None",
        )
        require(
            rejection_sample_method in RULES,
            f"rejection_sample_method is {rejection_sample_method!r}, but must be one of "
            f"{', '.join(RULES)}",
        )
        self.rejection_sample_method = rejection_sample_method
        self.acceptance_rates = self._check_synthetic(
            num_speculative_tokens, synthetic_acceptance_rates, synthetic_acceptance_length
        )
        self.lengths_per_batch_size = _check_lengths(
            num_speculative_tokens, num_speculative_tokens_per_batch_size
        )
        self.method = method
        self.num_speculative_tokens = num_speculative_tokens
        self.model = model
        self.options = options

    def _check_synthetic(
        self, k: int, rates: Sequence[float] | None, length: float | None
    ) -> tuple[float, ...]:
        """The acceptance rates asked for, by position; none unless the rule is "synthetic"."""
        given = (rates is not None) + (length is not None)
        if self.rejection_sample_method != "synthetic":
            require(
                not given,
                "synthetic_acceptance_rates and synthetic_acceptance_length make a text that is "
                'not the target\'s: they need rejection_sample_method "synthetic" beside them',
            )
            return ()
        require(
            given == 1,
            'rejection_sample_method "synthetic" needs either synthetic_acceptance_rates or '
            "synthetic_acceptance_length: give one of them",
        )
        if length is not None:
            require_number("synthetic_acceptance_length", length, 1, k + 1, "k + 1 accepts all")
            # The first tokens stand always, the next one as often as is left: least variance, as
            # in vLLM and SGLang.
            return tuple(min(max(length - 1 - i, 0.0), 1.0) for i in range(k))
        for rate in rates or ():
            require_number("an entry of synthetic_acceptance_rates", rate, 0, 1, "1 accepts all")
        listed = tuple(rates or ())
        require(
            len(listed) == k and listed == tuple(sorted(listed, reverse=True)),
            f"synthetic_acceptance_rates is {list(listed)}, but must hold one rate for each of "
            f"{k} positions, none above the one before it",
        )
        return listed

    @classmethod
    def of(cls, config: SpeculativeConfig | Mapping[str, Any] | None) -> SpeculativeConfig | None:
        """Accept what `LLM(speculative_config=…)` accepts: a config, a mapping, or None."""
        if config is None or isinstance(config, SpeculativeConfig):
            return config
        require(
            isinstance(config, Mapping),
            f"speculative_config is {config!r}, but must be a mapping such as "
            '{"method": "ngram", "num_speculative_tokens": 4}',
        )
        require(
            "method" in config,
            f"speculative_config has the keys {list(config)}, but lacks 'method': "
            'name a proposer, such as "ngram"',
        )
        require(
            all(isinstance(key, str) for key in config),
            f"speculative_config has the keys {list(config)}, but keys must be strings",
        )
        return cls(**dict(config))

    def __repr__(self) -> str:
        return (
            f"SpeculativeConfig(method={self.method!r}, "
            f"num_speculative_tokens={self.num_speculative_tokens}, model={self.model!r}, "
            f"rejection_sample_method={self.rejection_sample_method!r}, options={self.options!r})"
        )


def _check_lengths(k: int, given: Any) -> tuple[tuple[int, int, int], ...]:
    """`num_speculative_tokens_per_batch_size` as triples; none if it is not given."""
    if given is None:
        return ()
    name = "num_speculative_tokens_per_batch_size"
    form = "[[1, 4, 3], [5, 16, 1], [17, 64, 0]]: first and last batch size, draft length"
    listed = isinstance(given, Sequence) and not isinstance(given, str) and len(given) > 0
    require(listed, f"{name} is {given!r}, but must be a list such as {form}")
    expected = 1
    for entry in given:
        whole = isinstance(entry, Sequence) and not isinstance(entry, str) and len(entry) == 3
        require(whole, f"{name} has the entry {entry!r}, but entries are as in {form}")
        first, last, length = entry
        for value in entry:
            require_int(f"a number of {name}", value, 0, f"write it like {form}")
        require(
            first == expected and last >= first,
            f"{name} goes on with batch sizes {first} to {last} where {expected} comes next: leave "
            "no gap and no overlap, and begin with 1",
        )
        require(
            length <= k,
            f"{name} asks for {length} tokens, above num_speculative_tokens = {k}: raise that",
        )
        expected = last + 1
    return tuple((first, last, length) for first, last, length in given)


DTYPES = ("auto", "float32", "bfloat16", "float16")


@dataclass(frozen=True)
class EngineConfig:
    """How the engine runs: limits, memory, precision. Names are vLLM's where vLLM has one.

    Args:
        model: hub id, local folder, GGUF file, or "demo" for the packaged small model.
        dtype: "auto", which is bfloat16; or "float32", "bfloat16", "float16".
        device: "auto", "cpu", "cuda" or "cuda:N".
        max_model_len: longest prompt plus output in tokens; None takes the model's own limit.
        max_num_seqs: requests that run at once.
        max_num_batched_tokens: rows of one step, prompt chunks and drafts included; at least
            `max_num_seqs`, so that every decoding request gets one token a step.
        block_size: tokens in a KV block.
        num_gpu_blocks_override: KV blocks in the pool, on whatever device; None derives the number
            from `kv_cache_memory_bytes`.
        kv_cache_memory_bytes: memory for KV; None takes room for `max_num_seqs` requests of
            `max_model_len` tokens, 4 GiB at most.
        enable_prefix_caching: reuse the KV of equal prompt beginnings.
        seed: root of the seeds of requests that bring none.
        batch_invariant: a row's result does not depend on how many rows run beside it, so that
            output is bitwise the same with speculation on and off, at any batch and schedule.
            Checked when the model loads. CPU only; long prompts are read more slowly.
        speculative_config: see `SpeculativeConfig`; None is off.

    Raises:
        ConfigError: a value is out of range.
    """

    model: str
    dtype: str = "auto"
    device: str = "auto"
    max_model_len: int | None = None
    max_num_seqs: int = 8
    max_num_batched_tokens: int = 512
    block_size: int = 16
    num_gpu_blocks_override: int | None = None
    kv_cache_memory_bytes: int | None = None
    enable_prefix_caching: bool = True
    seed: int = 0
    batch_invariant: bool = False
    speculative_config: SpeculativeConfig | None = field(default=None)

    def __post_init__(self) -> None:
        require(
            isinstance(self.model, str) and bool(self.model),
            f"model is {self.model!r}, but must be a hub id, a folder, a GGUF file or 'demo'",
        )
        require(
            self.dtype in DTYPES,
            f"dtype is {self.dtype!r}, but must be one of {', '.join(DTYPES)}",
        )
        require_int("max_num_seqs", self.max_num_seqs, 1, "one request must be able to run")
        require_int("block_size", self.block_size, 1, "16 is usual")
        require_int("seed", self.seed, 0, "any whole number from 0 on")
        require_int(
            "max_num_batched_tokens",
            self.max_num_batched_tokens,
            self.max_num_seqs,
            f"every one of max_num_seqs={self.max_num_seqs} requests needs a token a step",
        )
        require_bool("enable_prefix_caching", self.enable_prefix_caching)
        require_bool("batch_invariant", self.batch_invariant)
        require(
            isinstance(self.device, str),
            f"device is {self.device!r}, but must be auto, cpu, cuda or cuda:N",
        )
        object.__setattr__(
            self, "speculative_config", SpeculativeConfig.of(self.speculative_config)
        )
        for name in ("max_model_len", "num_gpu_blocks_override", "kv_cache_memory_bytes"):
            if getattr(self, name) is not None:
                require_int(name, getattr(self, name), 1, "or None for the default")

    @classmethod
    def of(cls, model: str, speculative_config: Any, **options: Any) -> EngineConfig:
        """Build from `LLM`'s arguments.

        Raises:
            ConfigError: an option is unknown; the message lists the known ones.
        """
        known = {f.name for f in fields(cls)} - {"model", "speculative_config"}
        for name in options:
            require(
                name in known,
                f"unknown option {name!r}: the engine takes {', '.join(sorted(known))}",
            )
        return cls(
            model=model, speculative_config=SpeculativeConfig.of(speculative_config), **options
        )
