"""Sampling parameters, from every form that callers write to one `SamplingParams` a prompt."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

from fairdraft.config import SamplingParams, shown
from fairdraft.errors import ConfigError

_FORM = 'must be SamplingParams(…), or a mapping such as {"temperature": 0}'


def parse_params(params: object, count: int) -> list[SamplingParams]:
    """Return one `SamplingParams` for each of `count` prompts.

    Args:
        params: one for all prompts, or an iterable of one each. Each is a `SamplingParams`, a
            mapping of its fields, or None for the defaults.
        count: how many prompts there are.

    Raises:
        ConfigError: there are more or fewer than prompts, or one of them is not understood.
    """
    if params is None or isinstance(params, (SamplingParams, Mapping)):
        return [_one_params(params)] * count
    if isinstance(params, (str, bytes)) or not isinstance(params, Iterable):
        raise ConfigError(f"sampling_params is {shown(params)}, but {_FORM}")
    # An iterator may have no end.
    each = list(islice(params, count + 1) if isinstance(params, Iterator) else params)
    if len(each) != count:
        found = f"more than {count}" if isinstance(params, Iterator) and each[count:] else len(each)
        raise ConfigError(
            f"there are {found} sampling_params for {count} prompts: give one for all or one each"
        )
    return [_one_params(one) for one in each]


def _one_params(params: object) -> SamplingParams:
    if params is None:
        return SamplingParams()
    if isinstance(params, SamplingParams):
        return params
    if isinstance(params, Mapping):
        return SamplingParams.of(params)
    raise ConfigError(f"sampling_params has the entry {shown(params)}, but {_FORM}")
