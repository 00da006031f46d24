"""Draws the rows of one verification run and what each of them sees: verification_rows.png.

python phase-08-speculative-decoding/figures/verification_rows.py
"""

from __future__ import annotations

from matplotlib import rc_context
from matplotlib.patches import Rectangle
from style import BLUE, FAINT, GREEN, GREY, GROUND, INK, LOOK, PALE_BLUE, RED, blank, figure, save

CACHED = ("The", "capital", "of", "France")
ROWS = ("is", "Paris", ".", "The")
SAYS = (("Paris", "accept", GREEN), (".", "accept", GREEN), ("It", "reject", RED), ("", "", FAINT))
LEFT, TOP, SIZE = 1.3, 1.35, 0.62


def main() -> None:
    """Draw and save."""
    with rc_context(LOOK):
        made = figure(2.9)
        axes = made.add_subplot()
        blank(axes, 8.3, 4.5)
        columns = (*CACHED, *ROWS)
        for column, text in enumerate(columns):
            x = LEFT + (column + 0.5) * SIZE
            axes.text(x, TOP - 0.12, text, rotation=55, ha="left", va="bottom", color=INK)
        for row, text in enumerate(ROWS):
            y = TOP + row * SIZE
            axes.text(LEFT - 0.15, y + SIZE / 2, text, ha="right", va="center")
            for column in range(len(columns)):
                cached = column < len(CACHED)
                seen = cached or column - len(CACHED) <= row
                face = (GREY if cached else PALE_BLUE) if seen else GROUND
                edge = FAINT if cached else BLUE
                cell = Rectangle(
                    (LEFT + column * SIZE, y), SIZE, SIZE, facecolor=face, edgecolor=edge
                )
                axes.add_patch(cell)
            said, verdict, colour = SAYS[row]
            x = LEFT + len(columns) * SIZE + 0.2
            axes.text(
                x, y + SIZE / 2, said or "not asked", va="center", color=INK if said else FAINT
            )
            if verdict:
                axes.text(8.25, y + SIZE / 2, verdict, va="center", ha="right", color=colour)
        axes.text(0.05, TOP - 0.3, "rows", va="center", fontweight="bold")
        says = LEFT + len(columns) * SIZE + 0.2
        axes.text(says, TOP - 0.3, "target says", va="center", fontweight="bold")
        bottom = TOP + len(ROWS) * SIZE + 0.35
        middle = LEFT + len(CACHED) * SIZE / 2
        axes.text(middle, bottom, "KV in the cache", ha="center", va="center", color=FAINT)
        middle = LEFT + (len(CACHED) + len(ROWS) / 2) * SIZE
        axes.text(middle, bottom, "computed in this run", ha="center", va="center", color=BLUE)
        save(made, "verification_rows")


if __name__ == "__main__":
    main()
