"""Draws two laws, what they share, and what is left of the target's: residual.png.

python phase-08-speculative-decoding/figures/residual.py
"""

from __future__ import annotations

import numpy as np
from matplotlib import rc_context
from style import BLUE, FAINT, GREEN, GREY, LOOK, PURPLE, figure, save

TOKENS = ("Paris", "Lyon", "the", "a")
P = np.array([0.5, 0.2, 0.2, 0.1])
Q = np.array([0.3, 0.4, 0.1, 0.2])


def main() -> None:
    """Draw and save."""
    shared, left = np.minimum(P, Q), np.maximum(P - Q, 0)
    places = np.arange(len(TOKENS))
    with rc_context(LOOK):
        made = figure(4.0)
        above, below = made.subplots(2, 1, sharex=True)
        above.bar(places - 0.2, P, 0.38, color=BLUE, label="target p")
        above.bar(places + 0.2, Q, 0.38, color=PURPLE, label="drafter q")
        above.set_title("A draft is drawn from q, but p is wanted", loc="left")
        above.legend(ncols=2, loc="upper right")
        label = f"min(p, q): accepted, α = {shared.sum():.1f}"
        below.bar(places, shared, 0.5, color=GREEN, label=label)
        more = left > 0
        below.bar(
            places[more],
            left[more],
            0.5,
            shared[more],
            color="white",
            edgecolor=BLUE,
            hatch="////",
            label=f"max(p − q, 0): recovered, {left.sum():.1f}",
        )
        below.set_title("Accepted and recovered tokens together are p", loc="left")
        below.legend(loc="upper right")
        for axes in (above, below):
            axes.set_ylim(0, 0.62)
            axes.set_yticks([0, 0.2, 0.4])
            axes.grid(axis="y", color=GREY)
            axes.set_axisbelow(True)
            axes.tick_params(length=0)
            axes.spines["left"].set_visible(False)
        below.set_xticks(places, TOKENS)
        for x, share in zip(places, P, strict=True):
            below.text(x, share + 0.01, f"{share:.1f}", ha="center", va="bottom", color=FAINT)
        save(made, "residual")


if __name__ == "__main__":
    main()
