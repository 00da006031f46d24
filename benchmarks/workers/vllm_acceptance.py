"""What an EAGLE-3 head comes to in vLLM: reads one job, prints its counters.

Run by the Python of vLLM's own virtual environment; only its packages and the standard library.
"""

import json
import os
import sys

from benchmarks.workers.vllm_worker import SETTINGS, preload_openmp


def main() -> None:
    job = json.load(sys.stdin)
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # vLLM logs to stdout

    from vllm import LLM, SamplingParams

    llm = LLM(
        job["model"],
        dtype=job["dtype"],
        max_model_len=1024,
        max_num_seqs=1,
        enforce_eager=True,
        disable_log_stats=False,
        speculative_config=job["speculative"],
    )
    params = SamplingParams(temperature=0.0, max_tokens=job["max_tokens"], ignore_eos=True)
    inputs = [{"prompt_token_ids": prompt} for prompt in job["prompts"]]
    outputs = llm.generate(inputs, params, use_tqdm=False)
    counters = {}
    for metric in llm.get_metrics():
        if "spec_decode" in metric.name:
            value = getattr(metric, "value", None)
            counters[metric.name] = getattr(metric, "values", None) if value is None else value
    texts = [list(output.outputs[0].token_ids) for output in outputs]
    print(json.dumps({"counters": counters, "texts": texts}), file=answers)


if __name__ == "__main__":
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    # The job is read after this: a new start keeps standard input.
    preload_openmp()
    main()
