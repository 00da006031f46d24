"""Transformers as it comes: eager `generate`, or its prompt lookup, which takes one stream."""

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

    def generate(
        prompts: list[list[int]], max_tokens: int
    ) -> tuple[list[list[int]], dict[str, int]]:
        longest = max(map(len, prompts))
        padded = [[0] * (longest - len(prompt)) + prompt for prompt in prompts]
        mask = [[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts]
        output = model.generate(
            torch.tensor(padded),
            attention_mask=torch.tensor(mask),
            max_new_tokens=max_tokens,
            do_sample=False,
            **lookup,
        )
        return output[:, longest:].tolist(), {}

    return generate, "eager"


if __name__ == "__main__":
    serve(load, ["torch", "transformers"])
