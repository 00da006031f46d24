"""fairdraft itself, through its public API."""

import itertools

from benchmarks.workers.protocol import Generate, Speculative, serve
from fairdraft import LLM, SamplingParams


def load(model_dir: str, speculative: Speculative) -> tuple[Generate, str]:
    """Load fairdraft as it comes."""
    llm = LLM(
        model_dir,
        dtype="bfloat16",
        max_num_seqs=8,
        enable_prefix_caching=False,  # as for vLLM: every round pays for its prefill
        speculative_config=speculative,
    )

    calls = itertools.count()

    def generate(
        prompts: list[list[int]], max_tokens: int
    ) -> tuple[list[list[int]], dict[str, int]]:
        params = SamplingParams(temperature=0.0, max_tokens=max_tokens, ignore_eos=True)
        # Prompts come again in each round; a salt of its own keeps past answers out of the next.
        salt = str(next(calls))
        inputs = [{"prompt_token_ids": prompt, "cache_salt": salt} for prompt in prompts]
        outputs = llm.generate(inputs, params)
        drafted = sum(output.spec.num_draft_tokens for output in outputs)
        accepted = sum(output.spec.num_accepted_tokens for output in outputs)
        texts = [list(output.outputs[0].token_ids) for output in outputs]
        return texts, {"drafted": drafted, "accepted": accepted}

    return generate, f"batch_invariant={llm.runner.batch_invariant}"


if __name__ == "__main__":
    serve(load, ["torch", "transformers", "fairdraft"])
