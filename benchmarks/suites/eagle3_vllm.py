"""The same EAGLE-3 head in vLLM and here: does it load there, and is its acceptance the same?

python -m benchmarks.suites.eagle3_vllm --model DIR --head DIR --vllm-python PYTHON
"""

from __future__ import annotations

import argparse
import json
import subprocess
from typing import Any

from benchmarks.constants import ROOT
from benchmarks.keeping import write_result
from benchmarks.prompts import chat_prompts
from fairdraft import LLM, SamplingParams


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="the target as a folder that vLLM reads")
    parser.add_argument("--head", required=True)
    parser.add_argument("--vllm-python", required=True)
    parser.add_argument("--prompts", type=int, default=6, help="of each dataset")
    parser.add_argument("--tokens", type=int, default=96)
    parser.add_argument("--k", type=int, default=3)
    parser.add_argument("--dtype", default="bfloat16")
    options = parser.parse_args()
    speculative = {
        "method": "eagle3",
        "model": options.head,
        "num_speculative_tokens": options.k,
    }
    llm = LLM(options.model, dtype=options.dtype, max_num_seqs=1, speculative_config=speculative)
    prompts = chat_prompts(llm.tokenizer, options.prompts)
    params = SamplingParams(temperature=0, max_tokens=options.tokens, ignore_eos=True)
    texts = [
        o.outputs[0].token_ids
        for o in llm.generate([{"prompt_token_ids": p} for p in prompts], params)
    ]
    ours = llm.counters
    job = {
        "model": options.model,
        "dtype": options.dtype,
        "speculative": speculative,
        "prompts": prompts,
        "max_tokens": options.tokens,
    }
    run = subprocess.run(
        [options.vllm_python, "-m", "benchmarks.workers.vllm_acceptance"],
        input=json.dumps(job),
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if run.returncode:
        raise SystemExit(f"vLLM failed:\n{run.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(run.stdout)
    theirs = found["counters"]
    rate = (
        theirs["vllm:spec_decode_num_accepted_tokens"] / theirs["vllm:spec_decode_num_draft_tokens"]
    )
    length = (
        1 + theirs["vllm:spec_decode_num_accepted_tokens"] / theirs["vllm:spec_decode_num_drafts"]
    )
    report = {
        "k": options.k,
        "dtype": options.dtype,
        "texts": len(prompts),
        "tokens_per_text": options.tokens,
        "fairdraft": {
            "acceptance_rate": ours.acceptance_rate,
            "mean_acceptance_length": ours.mean_acceptance_length,
        },
        "vllm": {"acceptance_rate": rate, "mean_acceptance_length": length, "counters": theirs},
        "identical_texts": sum(a == b for a, b in zip(texts, found["texts"], strict=True)),
    }
    print(json.dumps(report, indent=1))
    write_result("eagle3_vllm", report)


if __name__ == "__main__":
    main()
