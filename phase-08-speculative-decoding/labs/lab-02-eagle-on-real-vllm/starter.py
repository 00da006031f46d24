"""Lab 02: what EAGLE-3 should come to on vLLM, and what it came to. Seven TODOs, in this order.

Grade yourself:
LAB_IMPL=starter pytest phase-08-speculative-decoding/labs/lab-02-eagle-on-real-vllm -q

A draft has k tokens; survival i is the share of rounds in which the first i draft tokens stood.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

CAPTURED = Path(__file__).parent / "captured"
# Of the head's card, by drafting on prompts it did not learn from: fairdraft/data/heads/eagle3.
CARD_SURVIVALS = (0.453, 0.224, 0.128)
CARD_COST = 0.042  # of a draft token, in runs of the target, by the bytes that each reads


@dataclass(frozen=True)
class Counters:
    """What vLLM counts.

    Args:
        num_drafts: rounds.
        num_draft_tokens: draft tokens in them.
        num_accepted_tokens: of these, those that stood.
        accepted_per_pos: rounds in which the first, second, … draft token stood.
    """

    num_drafts: int
    num_draft_tokens: int
    num_accepted_tokens: int
    accepted_per_pos: tuple[int, ...]


@dataclass(frozen=True)
class Outcome:
    """What speculation comes to, predicted or measured.

    Args:
        tokens_per_run: the token after the draft included.
        round_cost: what a round takes, in runs without a draft.
        speedup: of the text.
    """

    tokens_per_run: float
    round_cost: float
    speedup: float


def predict(survival: Sequence[float], c: float) -> Outcome:
    """Return what lab 04's equation says, with a survival for each position.

    Args:
        survival: k shares; lab 04 has α, α², …
        c: cost of a draft token, in runs.
    """
    raise NotImplementedError(
        "TODO 1, predict: tokens a run are 1 and the sum of the survivals, a round costs 1 + c·k "
        "runs, and the speedup is the quotient"
    )


def read_counters(metrics: str) -> Counters:
    """Read the counters of speculation from the text of /metrics.

    Args:
        metrics: lines such as `vllm:spec_decode_num_drafts_total{engine="0",…} 953.0`; of the
            per-position counter there is one line a position, `position="0"` the first. Several
            engines (`engine="0"`, `engine="1"`) are added up.
    """
    raise NotImplementedError(
        "TODO 2, read_counters: take num_drafts, num_draft_tokens, num_accepted_tokens and "
        "num_accepted_tokens_per_pos from lines such as "
        "vllm:spec_decode_num_drafts_total{…} 953.0; skip those that begin with # or whose name "
        "ends in _created"
    )


def acceptance_rate(counters: Counters) -> float:
    """Return the share of draft tokens that stood: accepted / drafted tokens. Not α."""
    raise NotImplementedError("TODO 3, acceptance_rate: accepted / drafted tokens")


def acceptance_length(counters: Counters, bonus: bool) -> float:
    """Return how many tokens a round gave: accepted / rounds, and 1 more with the bonus.

    Args:
        counters: of some rounds.
        bonus: whether the token after the draft counts, as it does in vLLM's figure.
    """
    raise NotImplementedError(
        "TODO 4, acceptance_length: accepted tokens / rounds, and one more with the bonus"
    )


def survivals(steps: Sequence[tuple[int, int]]) -> list[float]:
    """Return per position i: rounds in which i tokens stood / rounds that drafted i tokens.

    "i tokens" means at least so many. Draft lengths may differ from round to round, so each
    position has a denominator of its own. The captured run's are in `captured/rounds-….json`.

    Args:
        steps: how many tokens each round drafted, and how many of them stood.

    Returns:
        As many as the longest draft; none for no rounds.
    """
    raise NotImplementedError(
        "TODO 5, survivals: for i = 1, 2, …: rounds that accepted at least i tokens / rounds that "
        "drafted at least i"
    )


def measured(counters: Counters, off: float, on: float) -> Outcome:
    """Return what was measured; what a round cost follows from it.

    Args:
        counters: of the rounds.
        off, on: tokens a second without and with speculation.
    """
    raise NotImplementedError(
        "TODO 6, measured: tokens a run from the counters, speedup from the rates, and what a "
        "round cost from both"
    )


def explain(predicted: Outcome, found: Outcome) -> tuple[float, float]:
    """Split a miss into its two causes; their product is measured / predicted speedup.

    Args:
        predicted, found: with the same k.

    Returns:
        The factor that acceptance contributed, and the factor that costs contributed.
    """
    raise NotImplementedError(
        "TODO 7, explain: measured / predicted tokens, and predicted / measured cost of a round"
    )


def main() -> None:
    """Print a run beside the prediction: the captured one, or the folder that is named."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else CAPTURED
    run = json.loads((folder / "run.json").read_text())
    predicted = predict(CARD_SURVIVALS, CARD_COST)
    print(f"EAGLE-3, k = {run['k']}, {run['model']} in {run['dtype']}, vLLM {run['vllm']}")
    print(f"{run['processor']}, {run['cores']} cores, {run['date']}")
    for name in run["texts"]:
        counters = read_counters((folder / f"metrics-{name}.txt").read_text())
        print(f"\n{name}: acceptance at one stream")
        print(f"  {'':38}predicted  measured")
        rows = [
            (
                "accepted / drafted tokens",
                sum(CARD_SURVIVALS) / run["k"],
                acceptance_rate(counters),
            ),
            ("tokens a round without the bonus", *without_and_with(predicted, counters, False)),
            ("tokens a round with the bonus", *without_and_with(predicted, counters, True)),
        ]
        for place, stood in enumerate(counters.accepted_per_pos, 1):
            row = f"draft token {place} stood, of all rounds"
            rows.append((row, CARD_SURVIVALS[place - 1], stood / counters.num_drafts))
        for row, expected, value in rows:
            print(f"  {row:38}{expected:9.3f} {value:9.3f}")
        print("  streams   off → on, tokens/s   speedup   a round costs   miss = tokens × cost")
        for streams, rates in run["texts"][name].items():
            found = measured(counters, rates["off"], rates["on"])
            tokens, cost = explain(predicted, found)
            print(
                f"  {streams:>7}   {rates['off']:6.1f} → {rates['on']:6.1f}     "
                f"{found.speedup:5.2f}       {found.round_cost:5.2f}         "
                f"{tokens * cost:.2f} = {tokens:.2f} × {cost:.2f}"
            )
        print(f"  predicted{predicted.speedup:30.2f}{predicted.round_cost:12.2f}")


def without_and_with(predicted: Outcome, counters: Counters, bonus: bool) -> tuple[float, float]:
    """Return tokens a round, predicted and measured. Given.

    Args:
        predicted: with the bonus.
        counters: measured.
        bonus: whether the token after the draft counts.
    """
    return predicted.tokens_per_run - (not bonus), acceptance_length(counters, bonus)


if __name__ == "__main__":
    main()
