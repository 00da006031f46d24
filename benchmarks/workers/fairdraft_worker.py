"""fairdraft itself, through its public API."""

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

    def generate(prompts: list[list[int]], max_tokens: int) -> list[list[int]]:
        params = SamplingParams(temperature=0.0, max_tokens=max_tokens, ignore_eos=True)
        outputs = llm.generate([{"prompt_token_ids": prompt} for prompt in prompts], params)
        return [list(output.outputs[0].token_ids) for output in outputs]

    return generate, f"batch_invariant={llm.runner.batch_invariant}"


if __name__ == "__main__":
    serve(load, ["torch", "transformers", "fairdraft"])
