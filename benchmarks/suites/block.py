"""Block against standard verification: the same drawn drafts, judged by both rules.

gsm8k/test, T = 1. Along texts that the target samples, a self-drafting target (its first layers)
draws k tokens each round; for the very same draft both rules give what they would accept on average
over their decisions. The gain is paired; its interval comes from a bootstrap over prompts.

    python -m benchmarks.suites.block
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from benchmarks.constants import SHALLOW, WORK
from benchmarks.keeping import kept, write_result
from fairdraft import LLM, SamplingParams
from fairdraft.bench.datasets import load_prompts
from fairdraft.draft import Draft, Verdict
from fairdraft.models import ModelRunner
from fairdraft.stats.intervals import ratio_of_means
from fairdraft.verification import STANDARD, block, standard

LENGTHS = (4, 8)
LAYERS = (SHALLOW,)  # with fewer, next to nothing is accepted


class Asked:
    """Draws that note every probability they are asked with, and always answer the same."""

    def __init__(self, answer: bool) -> None:
        self.answer = answer
        self.probabilities: list[float] = []

    def accept(self, node: int, probability: Any) -> bool:
        """The answer."""
        self.probabilities.append(min(float(probability), 1.0))
        return self.answer

    def token(self, row: int, law: Any) -> int:
        """Which token follows does not matter here."""
        return 0


def expected(rows: list[Any], draft: Draft) -> dict[str, float]:
    """Accepted tokens of one draft on average over the decisions, by rule."""
    accepts, rejects = Asked(True), Asked(False)
    standard(rows, draft, accepts)
    block(rows, draft, rejects)  # asks about the whole draft first, then about ever less of it
    reached, longest = 1.0, 0.0
    for i, probability in enumerate(rejects.probabilities):
        longest += reached * probability * (len(draft) - i)
        reached *= 1 - probability
    return {"standard": float(np.cumprod(accepts.probabilities).sum()), "block": longest}


def judged(llm: LLM, prompt: list[int], seed: int, num_tokens: int) -> dict[str, list[float]]:
    """Accepted tokens of every round of one prompt's text, by rule."""
    accepted: dict[str, list[float]] = {"standard": [], "block": []}

    def listening(target: Any, draft: Draft, draws: Any) -> Verdict:
        if len(draft):
            rows = [target[row].double().numpy() for row in range(len(draft) + 1)]
            laws = [law.double().numpy() for law in draft.probs]
            # top-k or tails of zeros: fewer columns
            support = np.flatnonzero(sum(rows) + sum(laws))
            place = {int(token): i for i, token in enumerate(support)}
            small = Draft(
                tuple(place[token] for token in draft.token_ids),
                probs=[law[support] for law in laws],
            )
            for name, count in expected([row[support] for row in rows], small).items():
                accepted[name].append(count)
        return standard(target, draft, draws)

    llm.engine.rule = replace(STANDARD, verify_drawn=listening)
    params = SamplingParams(temperature=1, seed=seed, max_tokens=num_tokens, ignore_eos=True)
    llm.generate([{"prompt_token_ids": prompt}], params)
    return accepted


def gain_of_block(per_prompt: list[dict[str, list[float]]]) -> dict[str, Any]:
    """Return mean acceptance lengths and their ratio, its interval by a bootstrap over prompts."""
    sums = {
        name: np.array([sum(one[name]) for one in per_prompt]) for name in ("standard", "block")
    }
    rounds = np.array([len(one["standard"]) for one in per_prompt])
    whole = {name: 1 + s.sum() / rounds.sum() for name, s in sums.items()}
    # With the bonus token of each round; both rules judge the same rounds.
    gain = ratio_of_means(rounds + sums["block"], rounds + sums["standard"], draws=4000)
    return {
        "rounds": int(rounds.sum()),
        **{name: float(value) for name, value in whole.items()},
        "gain": gain.value,
        "gain_interval": [gain.low, gain.high],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=12)
    parser.add_argument("--tokens", type=int, default=48)
    options = parser.parse_args()
    rows = []
    for layers in LAYERS:
        for k in LENGTHS:

            def compute(layers: int = layers, k: int = k) -> list[dict[str, list[float]]]:
                llm = LLM(
                    "demo",
                    dtype="bfloat16",
                    max_model_len=1024,
                    speculative_config={
                        "method": "draft_model",
                        "num_speculative_tokens": k,
                        "num_draft_layers": layers,
                        "draft_sample_method": "probabilistic",
                    },
                )
                assert isinstance(llm.engine.runner, ModelRunner)
                torch.set_grad_enabled(False)
                texts = load_prompts("gsm8k", options.prompts)
                prompts = [llm.encode_chat([{"role": "user", "content": t}]) for t in texts]
                return [judged(llm, p, i, options.tokens) for i, p in enumerate(prompts)]

            found = gain_of_block(kept(WORK / "block", f"layers{layers}-k{k}", compute))
            rows.append({"layers": layers, "k": k, **found})
            print(rows[-1])
    write_result("block", {"dataset": "gsm8k/test", "temperature": 1, "rows": rows})


if __name__ == "__main__":
    main()
