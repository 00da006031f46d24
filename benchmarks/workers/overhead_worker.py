"""Times the verbs of a step in the checkout of fairdraft that PYTHONPATH names first.

Only what every version since 0.1.0 has is used: `LLM`, `SamplingParams`, `LLM.times`. The file is
run by its path, so that no other checkout gets in between.
"""

import json
import os
import sys
from typing import Any

from fairdraft import LLM, SamplingParams

VERBS = ("schedule", "run", "verify", "update", "propose")


def load(speculative: dict[str, Any] | None) -> LLM:
    """Load the demo model; every version writes the same texts, for they are batch-invariant."""
    return LLM(
        "demo",
        dtype="bfloat16",
        batch_invariant=True,
        max_model_len=1024,
        max_num_seqs=8,
        enable_prefix_caching=False,
        speculative_config=speculative,
    )


def seconds(llm: LLM) -> dict[str, float]:
    """Return the seconds of each verb so far, and the number of steps."""
    return {name: getattr(llm.times, name) for name in (*VERBS, "num_steps")}


def main() -> None:
    """Answer jobs, a line of JSON each, until stdin closes."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    import fairdraft

    print(json.dumps({"fairdraft": fairdraft.__file__}), file=answers)
    engines: dict[str, LLM] = {}
    for line in sys.stdin:
        job = json.loads(line)
        name = json.dumps(job["speculative"])
        llm = engines[name] = engines.get(name) or load(job["speculative"])
        params = SamplingParams(temperature=0, max_tokens=job["max_tokens"], ignore_eos=True)
        inputs = [{"prompt_token_ids": ids, "cache_salt": job["salt"]} for ids in job["prompts"]]
        before = seconds(llm)
        llm.generate(inputs, params)
        after = seconds(llm)
        print(json.dumps({verb: after[verb] - before[verb] for verb in before}), file=answers)


if __name__ == "__main__":
    main()
