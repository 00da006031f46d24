"""The look that all figures of the guide share, and where they are written.

Figures have a light ground of their own with a rim, so that they read the same on a white page and
on a dark one. They are five inches wide with letters of nine points and more: at 400 pixels a
letter is ten pixels high.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.append(str(ROOT))  # for benchmarks, which is not installed
WIDTH = 5.0

GROUND, RIM, INK, FAINT = "#fbfaf6", "#c9c5ba", "#1f2328", "#6b7280"
# Okabe and Ito's colours, which colour-blind readers can tell apart; darkened for text.
GREEN, RED, BLUE, PURPLE, GREY = "#00795a", "#c2410c", "#0063a6", "#8a4f7d", "#d8d5cc"
PALE_GREEN, PALE_RED, PALE_BLUE = "#d5efe5", "#fbe0d1", "#d6e8f5"

LOOK: dict[Any, Any] = {
    "font.size": 9.5,
    "font.family": "DejaVu Sans",
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.facecolor": GROUND,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": GREY,
    "legend.frameon": False,
    "lines.linewidth": 2,
}


def figure(height: float) -> Figure:
    """Make an empty figure with the shared ground.

    Args:
        height: in inches; the width is always the same.
    """
    with rc_context(LOOK):
        made = Figure(figsize=(WIDTH, height), facecolor=GROUND)
    made.patch.set(edgecolor=RIM, linewidth=2)
    made.set_layout_engine("constrained", w_pad=0.12, h_pad=0.12)
    return made


def save(made: Figure, name: str) -> Path:
    """Write a figure beside the scripts.

    Args:
        made: the figure.
        name: of the file, without ".png".
    """
    path = HERE / f"{name}.png"
    made.savefig(path, dpi=200, facecolor=GROUND, edgecolor=RIM, metadata={"Software": None})
    return path


def spread(values: Sequence[float], gap: float) -> list[float]:
    """Return heights for labels of rising values, moved apart until none is closer than `gap`."""
    heights = list(values)
    for i in range(1, len(heights)):
        if heights[i] - heights[i - 1] < gap:
            middle = (heights[i] + heights[i - 1]) / 2
            heights[i - 1], heights[i] = middle - gap / 2, middle + gap / 2
    return heights


def blank(axes: Axes, width: float, height: float) -> None:
    """Turn axes into a sheet to draw on, its origin at the upper left."""
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.set_axis_off()


def word(
    axes: Axes,
    x: float,
    y: float,
    text: str,
    *,
    width: float = 1.0,
    height: float = 0.8,
    face: str = GROUND,
    edge: str = FAINT,
    ink: str = INK,
    struck: bool = False,
) -> None:
    """Draw a token: a rounded box with its text.

    Args:
        axes: a sheet.
        x, y: its upper left corner.
        text: the token.
        width, height: of the box.
        face, edge, ink: colours of ground, rim and letters.
        struck: whether it is crossed out.
    """
    box = FancyBboxPatch(
        (x + 0.04, y + 0.04),
        width - 0.08,
        height - 0.08,
        boxstyle="round,pad=0,rounding_size=0.12",
        facecolor=face,
        edgecolor=edge,
        linewidth=1.2,
    )
    axes.add_patch(box)
    middle = x + width / 2, y + height / 2
    axes.text(*middle, text, ha="center", va="center", color=ink, fontsize=9.5)
    if struck:
        line = [x + 0.1, x + width - 0.1], [y + height - 0.14, y + 0.14]
        axes.plot(*line, color=ink, linewidth=1.6)
