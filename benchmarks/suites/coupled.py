"""Gumbel coupling: is the text the same whatever drafts, and however much?

60 prompts, T = 1, fixed seeds, float32 and batch-invariant: off, n-gram and a self-drafting target
that draws its tokens, k in {1, 4, 8}, one stream and eight. Every run must say the same tokens.

Every finished run is kept in benchmarks/work; run again, it goes on where it stopped.

    python -m benchmarks.suites.coupled
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

from benchmarks.constants import PROMPTS, WORK
from benchmarks.keeping import kept, write_result
from benchmarks.prompts import chat_prompts
from fairdraft import LLM, SamplingParams

NUM_TOKENS = 32
RULE = {"rejection_sample_method": "coupled"}
DRAFTERS: dict[str, dict[str, Any]] = {
    "ngram": {"method": "ngram", "prompt_lookup_max": 4, "prompt_lookup_min": 1},
    "drawn": {
        "method": "draft_model",
        "draft_sample_method": "probabilistic",
        "num_draft_layers": 8,
    },
}


def run(speculative: dict[str, Any], batch: int, each: int) -> dict[str, Any]:
    llm = LLM(
        "demo",
        dtype="bfloat16",
        batch_invariant=True,
        max_model_len=1024,
        max_num_seqs=batch,
        speculative_config=speculative | RULE,
    )
    prompts = chat_prompts(llm.tokenizer, each)
    params = [
        SamplingParams(temperature=1, seed=i, max_tokens=NUM_TOKENS, ignore_eos=True)
        for i in range(len(prompts))
    ]
    outputs = llm.generate([{"prompt_token_ids": p} for p in prompts], params, use_tqdm=True)
    return {
        "texts": [output.outputs[0].token_ids for output in outputs],
        "drafted": llm.counters.num_draft_tokens,
        "accepted": llm.counters.num_accepted_tokens,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--each", type=int, default=PROMPTS, help="prompts of each dataset")
    options = parser.parse_args()
    runs: dict[str, dict[str, Any]] = {}
    for batch in (1, 8):
        settings = {"off": {"method": "off"}}
        for name, drafter in DRAFTERS.items():
            for k in (1, 4, 8):
                settings[f"{name}, k = {k}"] = drafter | {"num_speculative_tokens": k}
        for name, setting in settings.items():
            label = f"{name}, batch {batch}"
            path = label.replace(", ", "-").replace(" ", "")
            part = partial(run, setting, batch, options.each)
            runs[label] = kept(WORK / "coupled", path, part)
    reference = runs["off, batch 1"]["texts"]
    rows = []
    for label, result in runs.items():
        same = sum(a == b for a, b in zip(result["texts"], reference, strict=True))
        rows.append(
            {
                "run": label,
                "identical": same,
                "texts": len(reference),
                "drafted": result["drafted"],
                "accepted": result["accepted"],
            }
        )
        print(f"{label:25} {same}/{len(reference)} identical, {result['accepted']} accepted")
    write_result("coupled", {"tokens_per_text": NUM_TOKENS, "dtype": "bfloat16", "rows": rows})


if __name__ == "__main__":
    main()
