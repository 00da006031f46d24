"""Draws what one run takes against its rows, as it was measured: run_time.png.

python phase-08-speculative-decoding/figures/run_time.py
"""

from __future__ import annotations

from matplotlib import rc_context
from style import BLUE, FAINT, GREEN, GREY, INK, LOOK, PURPLE, RED, figure, save, spread

from benchmarks.keeping import read_summary
from benchmarks.tables.course import CONTEXT, run_times

LOADS = {1: GREEN, 2: BLUE, 4: PURPLE, 8: RED}


def main() -> None:
    """Draw and save."""
    profile = read_summary("profile")
    machine = profile["environment"]
    with rc_context(LOOK):
        made = figure(3.7)
        axes = made.add_subplot()
        rows = sorted(run_times(profile, 1))
        curves = []
        for requests in LOADS:
            times = run_times(profile, requests)
            curves.append([times[n] / times[rows[0]] for n in rows])
        heights = spread([curve[-1] for curve in curves], 0.28)
        for (requests, colour), curve, height in zip(LOADS.items(), curves, heights, strict=True):
            axes.plot(rows, curve, color=colour, marker="o", markersize=4, clip_on=False)
            label = f"{requests} request" + "s" * (requests > 1)
            axes.text(rows[-1] + 0.2, height, label, color=colour, va="center", fontsize=9)
        axes.plot([1, rows[-1]], [1, rows[-1]], color=INK, linestyle=(0, (4, 3)), linewidth=1.3)
        axes.text(4.6, 3.9, "a run for each row", rotation=44, ha="center", va="center", fontsize=9)
        axes.set_xlim(1, rows[-1] + 2)
        axes.set_ylim(0, 5)
        axes.set_xticks(rows)
        axes.set_xlabel("rows of each request (draft tokens + 1)")
        axes.set_ylabel("time of a run, over one row's")
        axes.set_title("A run over several rows takes little longer", loc="left")
        axes.grid(axis="y", color=GREY)
        axes.set_axisbelow(True)
        made.supxlabel(
            f"SmolLM2-135M, {profile['dtype']}, context {CONTEXT}; "
            f"{machine['cpu']}, {machine['cores']} cores",
            fontsize=8,
            color=FAINT,
        )
        save(made, "run_time")


if __name__ == "__main__":
    main()
