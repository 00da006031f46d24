"""One draft length in vLLM: reads an engine, then runs, a line each; says what its metrics say.

Run by the Python of vLLM's own virtual environment; only its packages and the standard library.
"""

import json
import os
import sys
import time

from benchmarks.workers.vllm_worker import SETTINGS, preload_openmp


def counters(llm) -> dict:  # type: ignore[no-untyped-def, type-arg]
    """The speculative counters so far; per position as a list."""
    found = {}
    for metric in llm.get_metrics():
        if "spec_decode" in metric.name:
            value = getattr(metric, "value", None)
            name = metric.name.removeprefix("vllm:spec_decode_num_")
            found[name] = list(metric.values) if value is None else value
    return found


def main() -> None:
    job = json.loads(sys.stdin.readline())
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # vLLM logs to stdout

    from vllm import LLM, SamplingParams, __version__

    llm = LLM(
        job["model"],
        dtype="bfloat16",
        max_model_len=1024,
        max_num_seqs=8,
        enable_prefix_caching=False,
        enforce_eager=True,
        disable_log_stats=False,
        speculative_config=job["speculative"],
    )
    params = SamplingParams(temperature=0.0, max_tokens=job["max_tokens"], ignore_eos=True)
    llm.generate([{"prompt_token_ids": job["warm_up"]}], params, use_tqdm=False)
    print(json.dumps({"vllm": __version__}), file=answers)
    for line in sys.stdin:
        inputs = [{"prompt_token_ids": prompt} for prompt in json.loads(line)]
        before, start = counters(llm), time.perf_counter()
        outputs = llm.generate(inputs, params, use_tqdm=False)
        seconds = time.perf_counter() - start
        gone = {
            name: [a - b for a, b in zip(value, before[name], strict=True)]
            if isinstance(value, list)
            else value - before[name]
            for name, value in counters(llm).items()
        }
        tokens = sum(len(output.outputs[0].token_ids) for output in outputs)
        print(json.dumps({"seconds": seconds, "tokens": tokens, "counters": gone}), file=answers)


if __name__ == "__main__":
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    # Nothing is read before this: a new start keeps standard input.
    preload_openmp()
    main()
