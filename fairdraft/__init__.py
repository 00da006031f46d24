"""fairdraft: speculative decoding that is lossless, priced and real.

from fairdraft import LLM, SamplingParams

llm = LLM("demo", speculative_config={"method": "ngram", "num_speculative_tokens": 4})
output = llm.generate("name, age\\nname, age\\nname,", SamplingParams(temperature=0))[0]
print(output.outputs[0].text, output.spec.tokens_per_step)
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from fairdraft.config import SamplingParams, SpeculativeConfig

if TYPE_CHECKING:
    from fairdraft.llm import LLM
    from fairdraft.outputs import RequestOutput

logging.getLogger(__name__).addHandler(logging.NullHandler())  # silent unless the user asks

__version__ = "0.1.0"
__all__ = ["LLM", "RequestOutput", "SamplingParams", "SpeculativeConfig"]


def __getattr__(name: str) -> Any:
    """Load torch and transformers only when a model is wanted: the price list needs neither."""
    if name == "LLM":
        from fairdraft.llm import LLM

        return LLM
    if name == "RequestOutput":
        from fairdraft.outputs import RequestOutput

        return RequestOutput
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
