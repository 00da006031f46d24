"""Exercise 8: tokens per run against k on lab 01's targets, and why they level off.

--draw writes the picture ex08_k_sweep.png beside this file.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from shared import HERE, load_lab, show

from fairdraft.proposers.ngram import NgramIndex, copy_from

LENGTHS = range(21)
SHOWN = (0, 1, 2, 4, 8, 10, 11, 12, 13, 16, 20)
PERIOD, TOKENS = 12, 240
PROMPT = [*range(PERIOD)] * 2
GROUND, GREY = "#fbfaf6", "#6b7280"
COLOURS = ("#0063a6", "#00795a", "#8a4f7d", "#c2410c")


def copying_on(token_ids: Sequence[int], k: int, n_max: int = 3, n_min: int = 1) -> list[int]:
    """Draft as the library does: a copy that reaches the text's end goes on into itself."""
    index = NgramIndex(n_min, n_max, earliest=False)
    index.extend(token_ids)
    place = index.lookup(token_ids)
    return [] if place is None else list(copy_from(token_ids, place, k))


def sweeps() -> dict[str, list[float]]:
    """Return tokens per run for each draft length, by target and proposer."""
    lab = load_lab("lab-01")

    def sweep(law: str) -> list[float]:
        targets = [lab.ToyTarget(lab.LAWS[law]) for _ in LENGTHS]
        done = [lab.speculate(t, PROMPT, TOKENS, k) for t, k in zip(targets, LENGTHS, strict=True)]
        return [each.tokens_per_run for each in done]

    found = {name: sweep(name) for name in ("periodic", "mixed", "random")}
    vars(lab)["propose_ngram"] = copying_on
    return {"copying on": sweep("periodic"), **found}


def draw(curves: dict[str, list[float]]) -> None:
    """Draw a curve each, named at its end."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3.6), layout="constrained", facecolor=GROUND)
    axes = figure.subplots()
    axes.set_facecolor(GROUND)
    for colour, (name, found) in zip(COLOURS, curves.items(), strict=True):
        axes.plot(LENGTHS, found, color=colour, linewidth=2)
        axes.text(20.4, found[-1], name, color=colour, va="center")
    axes.axvline(PERIOD, color=GREY, linewidth=1, linestyle="--")
    axes.text(PERIOD - 0.4, 18, "one period", color=GREY, ha="right")
    axes.set(xlabel="draft length k", ylabel="tokens per run", xlim=(0, 20), ylim=(0, 21))
    axes.set_xticks(range(0, 21, 4))
    axes.set_yticks(range(1, 22, 4))
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(HERE / "ex08_k_sweep.png", dpi=200, metadata={"Software": None})


def main() -> None:
    """Print the sweep; draw it if asked to."""
    curves = sweeps()
    lines = [(k, *(f"{found[k]:.2f}" for found in curves.values())) for k in SHOWN]
    show(("k", *curves), lines)
    if "--draw" in sys.argv[1:]:
        draw(curves)


if __name__ == "__main__":
    main()
