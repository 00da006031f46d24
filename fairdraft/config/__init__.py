"""Everything a user may set, checked in one place, under the names vLLM uses."""

from fairdraft.config.checks import (
    close_match,
    plain,
    require,
    require_bool,
    require_int,
    require_number,
    shown,
    tell_once,
    unknown,
)
from fairdraft.config.engine import DTYPES, EngineConfig
from fairdraft.config.json_text import parse_json
from fairdraft.config.sampling import MIN_TEMPERATURE, SamplingParams
from fairdraft.config.speculation import SpeculativeConfig
from fairdraft.config.vllm import BY_MODEL, without_needless

__all__ = [
    "BY_MODEL",
    "DTYPES",
    "MIN_TEMPERATURE",
    "EngineConfig",
    "SamplingParams",
    "SpeculativeConfig",
    "close_match",
    "parse_json",
    "plain",
    "require",
    "require_bool",
    "require_int",
    "require_number",
    "shown",
    "tell_once",
    "unknown",
    "without_needless",
]
