"""The card beside a trained head: what it learnt from, and what it is worth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fairdraft.economics.equations.speedup import expected_tokens_per_verify, optimal_k, speedup
from fairdraft.heads import HeadCost

MAX_K = 16


def write_card(
    folder: Path, description: str, data: dict[str, Any], log: list[dict[str, Any]], cost: HeadCost
) -> None:
    """Write card.json, card.md and loss.png.

    Args:
        folder: where they go.
        description: what was trained.
        data: counts of what it learnt from.
        log: of `train`; its last entry holds the measurement, if there was one.
        cost: of a draft token over a target run's.
    """
    measured = log[-1].get("measured") or {}
    card: dict[str, Any] = {
        "trained": description,
        "data": data,
        "steps": len(log),
        "loss": {"first": log[0]["loss"], "last": log[-1]["loss"]},
        "c_by_bytes": cost.by_bytes,
        "measured": measured,
    }
    if measured:
        alpha = measured["alpha"]
        longest = cost.tokens if cost.tokens > 1 else MAX_K
        best = optimal_k(alpha, cost.by_bytes, longest)
        card["predicted"] = {
            "k": best,
            "speedup": speedup(alpha, best, cost.by_bytes),
            "tokens_per_run": expected_tokens_per_verify(alpha, best),
        }
    (folder / "card.json").write_text(json.dumps(card, indent=1) + "\n", "utf-8")
    (folder / "card.md").write_text(_markdown(card), "utf-8")
    _plot(log, folder / "loss.png")


def _markdown(card: dict[str, Any]) -> str:
    lines = [f"# {card['trained']}", ""]
    learnt = ", ".join(f"{count:,} {name}" for name, count in card["data"].items())
    lines += [f"Learnt from {learnt}; {card['steps']:,} steps, loss "]
    lines[-1] += f"{card['loss']['first']:.3f} → {card['loss']['last']:.3f}."
    lines += [f"Cost ratio c by bytes: {card['c_by_bytes']:.3f} of a target run a draft token.", ""]
    if card["measured"]:
        lines += ["| position | acceptance | 95% interval |", "|---|---:|---:|"]
        for i, (rate, low, high) in enumerate(card["measured"]["per_position"], 1):
            lines.append(f"| {i} | {rate:.3f} | {low:.3f} – {high:.3f} |")
        predicted = card["predicted"]
        length = card["measured"]["mean_acceptance_length"]
        lines += [
            "",
            f"By real drafting on held-out prompts: mean acceptance length {length:.2f}, α "
            f"{card['measured']['alpha']:.3f}. The equation's best k is {predicted['k']}, speedup "
            f"{predicted['speedup']:.2f}× where verification costs what one token does.",
        ]
    return "\n".join(lines) + "\n"


def _plot(log: list[dict[str, Any]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.4))
    steps = [entry["step"] for entry in log]
    left.plot(steps, [entry["loss"] for entry in log], linewidth=0.8)
    left.set(xlabel="step", ylabel="loss")
    for i, shares in enumerate(zip(*(entry["agreement"] for entry in log), strict=True)):
        right.plot(steps, shares, linewidth=0.8, label=f"draft token {i + 1}")
    right.set(xlabel="step", ylabel="likeliest token agrees", ylim=(0, 1))
    right.legend(frameon=False, fontsize=7)
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
