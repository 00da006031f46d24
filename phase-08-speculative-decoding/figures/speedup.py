"""Draws the speedup against the draft length, for a cheap and a dear drafter: speedup.png.

python phase-08-speculative-decoding/figures/speedup.py
"""

from __future__ import annotations

import numpy as np
from matplotlib import rc_context
from style import BLUE, FAINT, GREEN, GREY, INK, LOOK, PURPLE, RED, figure, save, spread

from fairdraft.economics import optimal_k, speedup

ALPHAS = {0.3: RED, 0.5: PURPLE, 0.7: BLUE, 0.9: GREEN}
LONGEST = 14  # the best draft length at α = 0.9 and c = 0.05 is 13


def main() -> None:
    """Draw and save."""
    lengths = np.arange(LONGEST + 1)
    with rc_context(LOOK):
        made = figure(4.4)
        both = made.subplots(2, 1, sharex=True, height_ratios=[3, 2])
        for axes, cost, gap in zip(both, (0.05, 0.3), (0.36, 0.22), strict=True):
            axes.axhspan(0, 1, color=GREY, alpha=0.5, linewidth=0)
            axes.axhline(1, color=INK, linewidth=1)
            curves = [np.asarray(speedup(alpha, lengths, cost)) for alpha in ALPHAS]
            heights = spread([curve[-1] for curve in curves], gap)
            for (alpha, colour), curve, height in zip(ALPHAS.items(), curves, heights, strict=True):
                axes.plot(lengths, curve, color=colour)
                best = optimal_k(alpha, cost, LONGEST)
                axes.plot(best, curve[best], "o", color=colour, markersize=7, clip_on=False)
                x = LONGEST + 0.25
                axes.text(x, height, f"α = {alpha}", color=colour, va="center", fontsize=9)
            axes.set_title(f"A draft token costs c = {cost} of a target run", loc="left")
            axes.set_ylabel("speedup")
            axes.set_xlim(0, LONGEST + 2)
            axes.grid(axis="y", color=GREY)
            axes.set_axisbelow(True)
        both[0].set_ylim(0.2, 5)
        both[0].set_yticks(range(1, 6))
        both[1].set_ylim(0.1, 2)
        both[1].set_yticks([0.5, 1, 1.5, 2])
        both[0].text(0.2, 0.5, "slower than without", color=FAINT, fontsize=9)
        both[1].text(0.2, 0.25, "slower than without", color=FAINT, fontsize=9)
        both[1].set_xlabel("draft length k; a dot marks the best")
        both[1].set_xticks(range(0, LONGEST + 1, 2))
        save(made, "speedup")


if __name__ == "__main__":
    main()
