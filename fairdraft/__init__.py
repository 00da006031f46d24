"""fairdraft: speculative decoding that is lossless, priced and real.

from fairdraft import LLM, SamplingParams

llm = LLM("demo", speculative_config={"method": "ngram", "num_speculative_tokens": 4})
output = llm.generate("name, age\\nname, age\\nname,", SamplingParams(temperature=0))[0]
print(output.outputs[0].text, output.spec.tokens_per_step)
"""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fairdraft.config import SamplingParams, SpeculativeConfig
    from fairdraft.llm import LLM, AsyncLLM
    from fairdraft.outputs import RequestOutput

logging.getLogger(__name__).addHandler(logging.NullHandler())  # silent unless the user asks

__version__ = "0.1.0"
__all__ = ["LLM", "AsyncLLM", "RequestOutput", "SamplingParams", "SpeculativeConfig"]

_PLACES = {
    "LLM": "fairdraft.llm",
    "AsyncLLM": "fairdraft.llm",
    "RequestOutput": "fairdraft.outputs",
    "SamplingParams": "fairdraft.config",
    "SpeculativeConfig": "fairdraft.config",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is asked for: the light core needs no torch.

    Raises:
        AttributeError: there is no such name.
    """
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
