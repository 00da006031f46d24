"""fairdraft: speculative decoding that is lossless, priced and real.

from fairdraft import LLM, SamplingParams

llm = LLM("demo", speculative_config={"method": "ngram", "num_speculative_tokens": 4})
print(llm.generate("The capital of France is", SamplingParams(temperature=0))[0].outputs[0].text)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fairdraft.config import SamplingParams, SpeculativeConfig

if TYPE_CHECKING:
    from fairdraft.llm import LLM, AsyncLLM
    from fairdraft.outputs import RequestOutput

__version__ = "0.1.0"
__all__ = ["LLM", "AsyncLLM", "RequestOutput", "SamplingParams", "SpeculativeConfig"]


def __getattr__(name: str) -> Any:
    """Load torch and transformers only when a model is wanted: the price list needs neither."""
    if name in ("LLM", "AsyncLLM"):
        from fairdraft import llm

        return getattr(llm, name)
    if name == "RequestOutput":
        from fairdraft.outputs import RequestOutput

        return RequestOutput
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
