"""Lab 02, solved: what EAGLE-3 should come to on vLLM, what it came to, and why.

A draft has k tokens; survival i is the share of rounds in which the first i draft tokens stood.
"""

from __future__ import annotations

import json
import re
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
    tokens, cost = 1 + sum(survival), 1 + c * len(survival)
    return Outcome(tokens, cost, tokens / cost)


def read_counters(metrics: str) -> Counters:
    """Read the counters of speculation from the text of /metrics.

    Args:
        metrics: lines such as `vllm:spec_decode_num_drafts_total{engine="0",…} 953.0`; of the
            per-position counter there is one line a position, `position="0"` the first. Several
            engines (`engine="0"`, `engine="1"`) are added up.
    """
    found = dict[str, float]()
    per_pos = dict[int, float]()
    for line in metrics.splitlines():
        match = re.match(r"vllm:spec_decode_(\w+)_total\{(.*)\} (\S+)$", line)
        if match:
            name, labels, value = match.groups()
            position = re.search(r'position="(\d+)"', labels)
            if position:
                place = int(position[1])
                per_pos[place] = per_pos.get(place, 0) + float(value)
            else:
                found[name] = found.get(name, 0) + float(value)
    return Counters(
        int(found["num_drafts"]),
        int(found["num_draft_tokens"]),
        int(found["num_accepted_tokens"]),
        tuple(int(per_pos[i]) for i in sorted(per_pos)),
    )


def acceptance_rate(counters: Counters) -> float:
    """Return the share of draft tokens that stood: accepted / drafted tokens. Not α."""
    return counters.num_accepted_tokens / counters.num_draft_tokens


def acceptance_length(counters: Counters, bonus: bool) -> float:
    """Return how many tokens a round gave: accepted / rounds, and 1 more with the bonus.

    Args:
        counters: of some rounds.
        bonus: whether the token after the draft counts, as it does in vLLM's figure.
    """
    return counters.num_accepted_tokens / counters.num_drafts + bonus


def survivals(steps: Sequence[tuple[int, int]]) -> list[float]:
    """Return per position i: rounds in which i tokens stood / rounds that drafted i tokens.

    "i tokens" means at least so many. Draft lengths may differ from round to round, so each
    position has a denominator of its own. The captured run's are in `captured/rounds-….json`.

    Args:
        steps: how many tokens each round drafted, and how many of them stood.

    Returns:
        As many as the longest draft; none for no rounds.
    """
    deepest = max((drafted for drafted, _ in steps), default=0)
    return [
        sum(accepted >= place for _, accepted in steps)
        / sum(drafted >= place for drafted, _ in steps)
        for place in range(1, deepest + 1)
    ]


def measured(counters: Counters, off: float, on: float) -> Outcome:
    """Return what was measured; what a round cost follows from it.

    Args:
        counters: of the rounds.
        off, on: tokens a second without and with speculation.
    """
    tokens, speedup = acceptance_length(counters, bonus=True), on / off
    return Outcome(tokens, tokens / speedup, speedup)


def explain(predicted: Outcome, found: Outcome) -> tuple[float, float]:
    """Split a miss into its two causes; their product is measured / predicted speedup.

    Args:
        predicted, found: with the same k.

    Returns:
        The factor that acceptance contributed, and the factor that costs contributed.
    """
    return (
        found.tokens_per_run / predicted.tokens_per_run,
        predicted.round_cost / found.round_cost,
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
