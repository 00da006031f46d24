"""Draws one round, from draft to accepted tokens: draft_verify_accept.png.

python phase-08-speculative-decoding/figures/draft_verify_accept.py
"""

from __future__ import annotations

from matplotlib import rc_context
from matplotlib.axes import Axes
from style import (
    BLUE,
    FAINT,
    GREEN,
    LOOK,
    PALE_BLUE,
    PALE_GREEN,
    PALE_RED,
    RED,
    blank,
    figure,
    save,
    word,
)

TEXT = ("The", "capital", "of", "France", "is")
DRAFT = ("Paris", ".", "The")
SAYS = ("Paris", ".", "It", "?")
WIDTHS = {"capital": 1.25, "France": 1.25, "The": 0.85, "of": 0.65, "is": 0.65, ".": 0.55}
FIRST = 0.1


def places(words: tuple[str, ...], start: float) -> list[tuple[float, float]]:
    """Return left edge and width of each word in a row that begins at `start`."""
    found = []
    for each in words:
        width = WIDTHS.get(each, 0.95)
        found.append((start, width))
        start += width
    return found


def step(axes: Axes, y: float, number: int, title: str) -> None:
    """Write the headline of a step."""
    axes.text(FIRST, y, f"{number}  {title}", fontweight="bold", va="center", fontsize=10)


def main() -> None:
    """Draw and save."""
    with rc_context(LOOK):
        made = figure(4.1)
        axes = made.add_subplot()
        blank(axes, 7.4, 7.5)
        known = places(TEXT, FIRST)
        end = sum(known[-1])
        drafted = places(DRAFT, end)

        step(axes, 0.35, 1, "draft: a cheap guess of the next k = 3 tokens")
        for text, (x, width) in zip(TEXT, known, strict=True):
            word(axes, x, 0.75, text, width=width)
        for text, (x, width) in zip(DRAFT, drafted, strict=True):
            word(axes, x, 0.75, text, width=width, face=PALE_BLUE, edge=BLUE, ink=BLUE)

        step(axes, 2.25, 2, "verify: one run of the target answers at 4 places")
        rows = [known[-1], *drafted]
        for text, (x, width) in zip((TEXT[-1], *DRAFT), rows, strict=True):
            word(axes, x, 2.65, text, width=width)
        for i, (text, (x, width)) in enumerate(zip(SAYS, rows, strict=True)):
            middle = x + width / 2
            arrow = {"arrowstyle": "->", "color": FAINT}
            axes.annotate("", (middle, 4.05), (middle, 3.5), arrowprops=arrow)
            ink = FAINT if i == 3 else "black"
            axes.text(middle, 4.3, text, ha="center", va="center", color=ink)
        axes.text(FIRST, 3.05, "rows of the run", va="center", color=FAINT)
        axes.text(FIRST, 4.3, "the target's own token", va="center", color=FAINT)

        step(axes, 5.2, 3, "accept: while both agree, and one token of the target's")
        for text, (x, width) in zip(TEXT, known, strict=True):
            word(axes, x, 5.6, text, width=width)
        for i, (text, (x, width)) in enumerate(zip(DRAFT, drafted, strict=True)):
            if i < 2:
                word(axes, x, 5.6, text, width=width, face=PALE_GREEN, edge=GREEN, ink=GREEN)
            else:
                word(axes, x, 5.6, text, width=width, face=PALE_RED, edge=RED, ink=RED, struck=True)
        (x, width) = drafted[-1]
        word(axes, x, 6.45, "It", width=width, face=PALE_BLUE, edge=BLUE, ink=BLUE)
        axes.text(FIRST, 6.85, "three tokens from one run", va="center", color=FAINT)
        axes.text(x - 0.15, 6.85, "recovered", va="center", ha="right", color=BLUE)
        save(made, "draft_verify_accept")


if __name__ == "__main__":
    main()
