"""Draws the speedup at the best k over α and c, with drafters on it: contours.png.

python phase-08-speculative-decoding/labs/lab-04-speedup-model/contours.py
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from solution import optimal_k, speedup

# (α, c) assumed for the picture, to show where kinds of drafters lie. Measured ones: the guide's.
DRAFTERS = {
    "n-gram, prose": (0.15, 0.005),
    "n-gram, code edits": (0.75, 0.005),
    "EAGLE-3": (0.7, 0.05),
    "1/10-size model": (0.65, 0.12),
    "half-size model": (0.8, 0.5),
}


def main() -> None:
    """Draw and save."""
    alphas, costs = np.linspace(0.02, 0.95, 94), np.geomspace(0.004, 0.8, 80)
    best = np.array([[speedup(a, c, optimal_k(a, c)) for a in alphas] for c in costs])
    figure, axes = plt.subplots(figsize=(6.4, 4.4), facecolor="white")
    axes.set_yscale("log")  # before the labels are placed
    axes.set_ylim(costs[0], costs[-1])
    levels = [1.1, 1.25, 1.5, 2, 2.5, 3, 4, 6]
    lines = axes.contour(alphas, costs, best, levels=levels, cmap="viridis", linewidths=1)
    axes.clabel(lines, fmt=lambda value: f"{value:g}×", fontsize=8)
    axes.plot(alphas, alphas, color="black", linewidth=2.5)
    axes.fill_between(alphas, alphas, 0.8, color="0.88")
    axes.text(0.06, 0.5, "turn it off", fontsize=11)
    for name, (alpha, c) in DRAFTERS.items():
        axes.plot(alpha, c, "o", color="tab:red")
        side = "right" if alpha > 0.68 else "left"
        offset = (-8 if side == "right" else 8, 5)
        label = axes.annotate(name, (alpha, c), offset, textcoords="offset points", ha=side)
        label.set_bbox({"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1})
    axes.set_xlabel("acceptance rate α")
    axes.set_ylabel("cost c of a draft token, in target runs")
    axes.set_title("Speedup at the best k; on the heavy line c = α")
    figure.tight_layout()
    figure.savefig(Path(__file__).with_name("contours.png"), dpi=150)


if __name__ == "__main__":
    main()
