"""The n-gram proposer alone: what a proposal costs, and which match to copy from.

* Time of one proposal, index update included, at 1,000 and at 100,000 tokens of context.
* Acceptance of "latest" and "earliest" matches, by replaying texts that the target wrote greedily:
  greedy acceptance depends on the text alone, so a replay is exact.
"""

from __future__ import annotations

import random
from statistics import median
from time import perf_counter

from benchmarks.constants import DATASETS, PROMPTS, SEED
from benchmarks.keeping import write_result
from benchmarks.lookup_replay import NOISE, replay_text
from fairdraft import LLM, SamplingParams
from fairdraft.bench.datasets import load_prompts
from fairdraft.proposers.ngram import MATCHES, NgramProposer
from fairdraft.request import Request
from fairdraft.telemetry import SpecCounters


def proposal_microseconds(context: int, repeats: int = 400) -> list[float]:
    """Times of proposals, each after one more token, on a text with many repeats."""
    rng = random.Random(SEED)
    text = [rng.randrange(400) for _ in range(context)]
    request = Request("r", tuple(text), SamplingParams())
    proposer = NgramProposer(4, prompt_lookup_max=4, prompt_lookup_min=2)
    proposer.propose([request], [4], [()], NOISE)
    times = []
    for _ in range(repeats):
        request.token_ids.append(rng.randrange(400))
        start = perf_counter()
        proposer.propose([request], [4], [()], NOISE)
        times.append((perf_counter() - start) * 1e6)
    return times


def main() -> None:
    cost: dict[int, list[float]] = {1_000: [], 100_000: []}
    for _ in range(5):
        for context, times in cost.items():
            times.extend(proposal_microseconds(context))
    for context, times in cost.items():
        print(f"one proposal at {context:7} tokens: {median(times):5.1f} µs")

    llm = LLM("demo", dtype="bfloat16", max_model_len=1024)
    params = SamplingParams(temperature=0, max_tokens=128, ignore_eos=True)
    rows = []
    for dataset in DATASETS:
        chats = [[{"role": "user", "content": text}] for text in load_prompts(dataset, PROMPTS)]
        outputs = llm.chat(chats, params, use_tqdm=True)
        for k in (2, 4, 8):
            for match in MATCHES:
                total = SpecCounters()
                for output in outputs:
                    text = output.outputs[0].token_ids
                    total.merge(
                        replay_text(
                            NgramProposer(k, 4, 2, match), "r", output.prompt_token_ids, text
                        )
                    )
                row = {
                    "dataset": dataset,
                    "k": k,
                    "match": match,
                    "tokens_per_step": total.tokens_per_step,
                    "mean_acceptance_length": total.mean_acceptance_length,
                    "acceptance_rate": total.acceptance_rate,
                }
                rows.append(row)
                print(f"{dataset:10} k={k} {match:9} {total.tokens_per_step:.3f} tokens a step")
    report = {
        "proposal_us": {str(c): median(t) for c, t in cost.items()},
        "match": rows,
    }
    write_result("ngram", report, {"samples_us": {str(c): t for c, t in cost.items()}})


if __name__ == "__main__":
    main()
