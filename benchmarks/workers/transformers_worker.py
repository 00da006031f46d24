"""Transformers as it comes: eager `generate`, or its prompt lookup. One stream at a time."""

from typing import Any

import torch
from transformers import AutoModelForCausalLM

from benchmarks.workers.protocol import Generate, Speculative, serve


def load(model_dir: str, speculative: Speculative) -> tuple[Generate, str]:
    """Load transformers' eager model."""
    model: Any = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.bfloat16)
    model.generation_config.eos_token_id = None  # as ignore_eos elsewhere
    lookup: dict[str, Any] = {}
    if speculative:
        lookup = {
            "prompt_lookup_num_tokens": speculative["num_speculative_tokens"],
            "max_matching_ngram_size": speculative["prompt_lookup_max"],
        }

    def generate(prompts: list[list[int]], max_tokens: int) -> list[list[int]]:
        (prompt,) = prompts  # assisted generation takes one prompt; so does the baseline here
        input_ids = torch.tensor([prompt])
        output = model.generate(
            input_ids,
            attention_mask=torch.ones_like(input_ids),
            max_new_tokens=max_tokens,
            do_sample=False,
            **lookup,
        )
        return [output[0, len(prompt) :].tolist()]

    return generate, "eager"


if __name__ == "__main__":
    serve(load, ["torch", "transformers"])
