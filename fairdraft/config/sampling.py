"""How one request is sampled, and when it ends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Annotated, Any

from pydantic import SkipValidation

from fairdraft.config.checks import (
    plain,
    require,
    require_int,
    require_number,
    require_unicode,
    shown,
    unknown,
)
from fairdraft.config.fields import Flag, Number, Whole, checked
from fairdraft.errors import ConfigError

MIN_TEMPERATURE = 0.01  # logits over less than this overflow; vLLM's number
MAX_COMPLETIONS = 16_384  # of one prompt; vLLM's number
MAX_ADJUSTMENT = 1e6  # of a logit, either way


@checked
class SamplingParams:
    """How one request is sampled and when it ends. Names and meanings are vLLM's.

    Acts on the target's logits in this order: `logit_bias`, `bad_words`, `min_tokens`, penalties,
    `temperature`, `min_p`, `top_k`, `top_p`. Every row of a verification run sees the draft tokens
    before it, so each filter means the same with and without speculation.

    Raises:
        ConfigError: a value is out of range.
    """

    n: Annotated[int, Whole(1, "ask for at least one completion", MAX_COMPLETIONS)] = 1
    """completions per prompt; n requests that share the prompt's KV blocks."""

    temperature: Annotated[float, Number(0, 1e4, "0 is greedy, 1 leaves the law")] = 1.0
    """0 is greedy; the logits are divided by it otherwise. Above 0 it is raised to at least 0.01,
    as in vLLM."""

    top_k: Annotated[int, Whole(-1, "0 or -1 keeps every token")] = 0
    """keep the k most likely tokens, ties with the k-th included; 0 or -1 keeps all."""

    top_p: Annotated[float, Number(0, 1, "1 keeps every token", above=True)] = 1.0
    """keep the fewest most likely tokens whose mass reaches top_p; in (0, 1]."""

    min_p: Annotated[float, Number(0, 1, "0 keeps every token")] = 0.0
    """keep tokens at least min_p times as likely as the likeliest; in [0, 1]."""

    seed: Annotated[int, Whole(0, "or None for one derived from the engine's seed")] | None = None
    """fixes every draw of the request; None derives one from the engine's seed and the request's
    number."""

    repetition_penalty: Annotated[float, Number(1e-6, 1e6, "1 is off")] = 1.0
    """above 0; divides positive and multiplies negative logits of tokens in the prompt or the
    output (Keskar et al. 2019, arXiv 1909.05858, section 4.1). 1 is off."""

    presence_penalty: Annotated[float, Number(-1e3, 1e3, "0 is off")] = 0.0
    """subtracted once from the logits of tokens in the output."""

    frequency_penalty: Annotated[float, Number(-1e3, 1e3, "0 is off")] = 0.0
    """subtracted from the logits of output tokens, times their count."""

    logit_bias: Annotated[Mapping[int, float] | None, SkipValidation] = None
    """token id → added to its logit."""

    bad_words: Annotated[Sequence[str] | None, SkipValidation] = ()
    """strings that must not be generated."""

    min_tokens: Annotated[int, Whole(0, "0 is off")] = 0
    """no EOS, stop token or stop string ends the request before so many tokens."""

    max_tokens: Annotated[int, Whole(1, "or None for no limit of its own")] | None = 16
    """at most so many tokens; None means until `max_model_len`."""

    stop: Annotated[str | Sequence[str] | None, SkipValidation] = ()
    """strings that end the text; the text is cut before them."""

    stop_token_ids: Annotated[Sequence[int] | None, SkipValidation] = ()
    """token ids that end the request."""

    ignore_eos: Annotated[bool, Flag()] = False
    """do not end at the model's EOS token."""

    logprobs: Annotated[int, Whole(0, "or None for no log-probabilities")] | None = None
    """return the log-probabilities of the sampled token and of so many likeliest."""

    include_stop_str_in_output: Annotated[bool, Flag()] = False
    """keep the stop string in the text."""

    skip_special_tokens: Annotated[bool, Flag()] = True
    """leave special tokens out of the text."""

    def __post_init__(self) -> None:
        put = object.__setattr__
        if 0 < self.temperature < MIN_TEMPERATURE:
            put(self, "temperature", MIN_TEMPERATURE)
        if self.max_tokens is not None and self.min_tokens > self.max_tokens:
            raise ConfigError(
                f"min_tokens is {shown(self.min_tokens)}, above max_tokens "
                f"{shown(self.max_tokens)}: lower the first or raise the second"
            )
        if self.logit_bias is not None:
            put(self, "logit_bias", _biases(self.logit_bias))
        put(self, "stop", _texts("stop", self.stop))
        put(self, "bad_words", _texts("bad_words", self.bad_words))
        put(self, "stop_token_ids", _token_ids(self.stop_token_ids))

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> SamplingParams:
        """Build from a mapping of sampling parameters.

        Raises:
            ConfigError: a key is unknown, or a value is out of range.
        """
        known = [f.name for f in fields(cls)]
        for name in params:
            require(name in known, unknown("sampling parameter", name, known, "there are"))
        return cls(**params)

    @property
    def greedy(self) -> bool:
        """Whether the likeliest token is taken instead of a draw."""
        return self.temperature == 0

    @property
    def stop_strings(self) -> tuple[str, ...]:
        """`stop` as a tuple, whatever form it was given in."""
        return tuple(self.stop or ())


def _biases(given: object) -> dict[int, float]:
    """`logit_bias` as a dictionary of its own."""
    if not isinstance(given, Mapping):
        raise ConfigError(f"logit_bias is {shown(given)}, but must map token ids to numbers")
    biases = {plain(token): plain(bias) for token, bias in given.items()}
    for token, bias in biases.items():
        require_int("a key of logit_bias", token, 0, "keys are token ids")
        name = f"logit_bias[{token}]"
        require_number(name, bias, -MAX_ADJUSTMENT, MAX_ADJUSTMENT, "use -100 to forbid it")
    return biases


def _texts(name: str, given: object) -> tuple[str, ...]:
    """`stop` or `bad_words` as a tuple of texts that can be written in UTF-8."""
    entries = (given,) if isinstance(given, str) else _listed(name, given)
    for entry in entries:
        if not isinstance(entry, str) or not entry:
            raise ConfigError(
                f"{name} is {shown(given)}, but must hold non-empty strings: leave empty ones out"
            )
        require_unicode(name, entry)
    return tuple(map(str, entries))


def _token_ids(given: object) -> tuple[int, ...]:
    """`stop_token_ids` as a tuple."""
    entries = tuple(map(plain, _listed("stop_token_ids", given)))
    for token in entries:
        require_int("an entry of stop_token_ids", token, 0, "entries are token ids")
    return entries


def _listed(name: str, given: object) -> tuple[Any, ...]:
    """What an iterable holds; nothing for None."""
    if given is None:
        return ()
    if not isinstance(given, Iterable) or isinstance(given, (bytes, Mapping)):
        raise ConfigError(f"{name} is {shown(given)}, but must be a list: leave it out for none")
    return tuple(given)
