"""A plan as a picture: speedup against k, against load, and on the plane of acceptance and cost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from fairdraft.economics import expected_tokens_per_verify, optimal_k, speedup
from fairdraft.economics.planning.plan import Cell, Plan

ALPHAS = (0.5, 0.6, 0.7, 0.8, 0.9)
MARKERS = "osD^vP"


def draw(plan: Plan, path: Path) -> None:
    """Draw three panels.

    Left: speedup against k at the smallest load, as planned, beside what other α would make of the
    same steps. Middle: against the load, a line for each k with its 95% band. Right: contours of
    the best speedup for every α and cost of a draft, with the drafters as points, one a load.

    Args:
        plan: with at least one measured choice.
        path: the picture; its suffix chooses the format, one that matplotlib writes.
    """
    figure = Figure(figsize=(16.5, 4.8), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    _against_k(left, plan, plan.best_method)
    _against_load(middle, plan, plan.best_method)
    _plane(figure, right, plan)
    figure.savefig(path, dpi=150)


def _against_k(axis: Axes, plan: Plan, method: str) -> None:
    load = next(n for n in plan.concurrencies if plan.choices[method, n] is not None)
    cells = _priced(plan, method, load)
    ks = [cell.k for cell in cells]
    plain = cells[0].step
    shades = colormaps["viridis"](np.linspace(0.85, 0.1, len(ALPHAS)))
    for alpha, shade in zip(ALPHAS, shades, strict=True):
        gains = [expected_tokens_per_verify(alpha, cell.k) * plain / cell.step for cell in cells]
        axis.plot(ks, gains, color=shade, linestyle="dashed", linewidth=1.1)
        axis.annotate(
            f"α = {alpha:g}",
            (ks[-1], gains[-1]),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize="small",
            color=shade,
        )
    _line(axis, ks, cells, "C3", f"{method} as measured")
    axis.set(xlabel="draft length k", ylabel="speedup", title=f"{load} at once")
    axis.set_xticks(ks)
    axis.set_xlim(0, ks[-1] * 1.17)
    _finish(axis)


def _against_load(axis: Axes, plan: Plan, method: str) -> None:
    shades = colormaps["plasma"](np.linspace(0.05, 0.8, len(plan.ks)))
    for k, shade in zip(plan.ks, shades, strict=True):
        cells = [plan.cells[method, n, k] for n in plan.concurrencies]
        known = [cell for cell in cells if cell is not None]
        if not known:
            continue
        _line(axis, [cell.requests for cell in known], known, shade, f"k = {k}")
    for n in plan.concurrencies:
        choice = plan.choices[method, n]
        if choice is not None:
            gain = choice.cell.speedup.value
            axis.plot(n, gain, "o", markersize=11, markerfacecolor="none", color="black", zorder=5)
    axis.plot([], [], "o", markersize=9, markerfacecolor="none", color="black", label="the choice")
    axis.set_xscale("log", base=2)
    axis.xaxis.set_major_locator(FixedLocator(list(plan.concurrencies)))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set(xlabel="requests at once", ylabel="speedup", title=f"{method}, 95% bands")
    _finish(axis)


def _plane(figure: Figure, axis: Axes, plan: Plan) -> None:
    places = {
        (method, n): place
        for method in plan.methods
        for n in plan.concurrencies
        if (place := plan.plane(method, n)) is not None
    }
    top = max(0.3, 1.25 * max(cost for _, cost in places.values()))
    alphas, costs = np.linspace(0, 1, 101), np.linspace(0, top, 81)
    longest = max(plan.ks)
    best = np.asarray(speedup(alphas, optimal_k(alphas, costs[:, None], longest), costs[:, None]))
    levels = [1.0, 1.05, 1.25, 1.5, 2, 2.5, 3, 4, 5, 7, 10, 17]
    levels = [x for x in levels if x < best.max()] + [float(best.max())]
    shown = axis.contourf(alphas, costs, best, levels=levels, cmap="GnBu", alpha=0.9)
    lines = axis.contour(alphas, costs, best, levels=levels[1:-1], colors="grey", linewidths=0.6)
    axis.clabel(lines, fmt="%g×", fontsize="x-small")
    # Below α = c + λ not even one draft pays (Leviathan et al. 2023, corollary 3.9).
    axis.fill_betweenx(costs, 0, np.minimum(costs, 1), color="gainsboro", linewidth=0)
    axis.text(0.03, 0.95, "off", transform=axis.transAxes, va="top", color="dimgrey")
    figure.colorbar(shown, ax=axis, label=f"best speedup, k up to {longest}", format="%g")
    for i, method in enumerate(plan.methods):
        mine = [(n, places[method, n]) for n in plan.concurrencies if (method, n) in places]
        points = np.array([place for _, place in mine])
        axis.plot(
            points[:, 0], points[:, 1], color=f"C{(1, 3, 4, 5, 6)[i % 5]}", linewidth=0.8, zorder=4
        )
        axis.scatter(
            points[:, 0],
            points[:, 1],
            s=45,
            color=f"C{(1, 3, 4, 5, 6)[i % 5]}",
            marker=MARKERS[i % len(MARKERS)],
            edgecolors="white",
            label=method,
            zorder=5,
        )
        side = -1 if i % 2 else 1
        for n, place in mine:
            axis.annotate(
                str(n),
                place,
                xytext=(8 * side, 0),
                textcoords="offset points",
                ha="right" if side < 0 else "left",
                va="center",
                fontsize="small",
                zorder=6,
            )
    axis.set(
        xlabel="acceptance rate α",
        ylabel="c + λ: what a draft adds, in plain steps",
        title="where it pays; points: requests at once",
        xlim=(0, 1),
        ylim=(0, top),
    )
    axis.legend(fontsize="small", loc="upper right")


def _priced(plan: Plan, method: str, load: int) -> list[Cell]:
    cells = [plan.cells[method, load, k] for k in (0, *plan.ks)]
    return [cell for cell in cells if cell is not None]


def _line(axis: Axes, at: list[int], cells: list[Cell], color: object, label: str) -> None:
    gains = [cell.speedup for cell in cells]
    axis.plot(at, [g.value for g in gains], marker="o", markersize=4, color=color, label=label)
    axis.fill_between(
        at, [g.low for g in gains], [g.high for g in gains], color=color, alpha=0.18, linewidth=0
    )


def _finish(axis: Axes) -> None:
    axis.axhline(1, color="grey", linewidth=0.8)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(fontsize="small")
