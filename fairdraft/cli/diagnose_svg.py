"""Plots of a diagnosis as SVG by hand, which needs no import and takes its colours from the page.

Each is `WIDTH` units wide, so that its text is readable on a telephone. A figure's values stand in
a table beside it, and its label says in a sentence what it shows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from fairdraft.economics.planning.case import Window
from fairdraft.stats.intervals import Estimate

WIDTH = 420
LEFT, RIGHT = 44, 12  # margins of plots with a vertical axis


def bars(shares: Sequence[tuple[str, Estimate]], label: str) -> str:
    """Return a bar a cause, each with its interval as a whisker.

    Args:
        shares: by name, from 0 to 1.
        label: what it shows, for those who cannot see it.
    """
    left, width = 4, WIDTH - 24
    parts = []
    bottom = 38 * len(shares) + 4
    for tick in (0, 0.25, 0.5, 0.75, 1):
        x = left + tick * width
        parts += [_line(x, 4, x, bottom, "grid"), _fitted(x, bottom + 16, f"{tick:.0%}", "")]
    for i, (name, share) in enumerate(shares):
        y = 38 * i + 4
        parts.append(_text(left + 2, y + 13, f"{name}: {share.value:.0%}", "start", "strong"))
        parts.append(_bar(left, y + 18, max(share.value * width, 1), 12))
        parts.append(_whisker(left + share.low * width, left + share.high * width, y + 24))
    return _svg(bottom + 22, label, parts)


def survival(rates: Sequence[Estimate], label: str) -> str:
    """Return a bar a position of the draft: how often it stands, with intervals.

    Args:
        rates: from 0 to 1, of position 1, 2, ….
        label: as in `bars`.
    """
    top, height = 8, 170
    span = WIDTH - LEFT - RIGHT
    slot = span / len(rates)
    every = math.ceil(len(rates) / 16)
    parts = []
    for tick in (0, 0.25, 0.5, 0.75, 1):
        y = top + (1 - tick) * height
        parts += [
            _line(LEFT, y, WIDTH - RIGHT, y, "grid"),
            _text(LEFT - 6, y + 4, f"{tick:.0%}", "end"),
        ]
    for i, rate in enumerate(rates):
        x, wide = LEFT + slot * (i + 0.5), min(slot * 0.6, 36)
        y = top + (1 - rate.value) * height
        parts.append(_bar(x - wide / 2, y, wide, max(top + height - y, 1)))
        parts.append(_upright(x, top + (1 - rate.high) * height, top + (1 - rate.low) * height))
        if i % every == 0:
            parts.append(_text(x, top + height + 16, str(i + 1), "middle"))
    parts.append(_text(LEFT + span / 2, top + height + 34, "position in the draft", "middle"))
    return _svg(top + height + 42, label, parts)


def reach(tokens: Estimate, most: float, needed: float | None, label: str) -> str:
    """Return the tokens a step that were measured on the way from 1 to the most that k can give.

    Args:
        tokens: measured.
        most: if every draft stood.
        needed: break-even; None if it is not known.
        label: as in `bars`.
    """
    start = min(1.0, tokens.value, needed or 1.0)
    end = max(most, tokens.high, needed or 0.0)
    end += 0.04 * (end - start) or 1
    left, width, middle = 14, WIDTH - 28, 62

    def place(value: float) -> float:
        return left + (value - start) / (end - start) * width

    parts = [_bar(place(1), middle - 9, max(place(most) - place(1), 1), 18, "track")]
    parts.append(_whisker(place(tokens.low), place(tokens.high), middle))
    parts.append(f'<circle cx="{place(tokens.value):.1f}" cy="{middle}" r="6" class="point"/>')
    x = place(tokens.value)
    parts.append(_fitted(x, middle + 28, f"measured {tokens.value:.2f}", "strong"))
    if needed is not None:
        x = place(needed)
        parts.append(_line(x, middle - 22, x, middle + 14, "even"))
        parts.append(_fitted(x, middle - 28, f"break-even {needed:.2f}", "strong even-text"))
    bottom = middle + 44
    for tick in _ticks(start, end):
        parts.append(_line(place(tick), bottom, place(tick), bottom + 5, "axis"))
        parts.append(_text(place(tick), bottom + 19, f"{tick:g}", "middle"))
    parts.append(_line(left, bottom, left + width, bottom, "axis"))
    parts.append(_text(left + width / 2, bottom + 36, "tokens a step", "middle"))
    return _svg(bottom + 44, label, parts)


def course(windows: Sequence[Window], label: str) -> str:
    """Return tokens a step window by window, beside what would be needed.

    Args:
        windows: two at least.
        label: as in `bars`.
    """
    top, height = 26, 170
    span = WIDTH - LEFT - RIGHT
    known = [each.needed for each in windows if each.needed is not None]
    high = max([each.tokens.high for each in windows] + [each.value for each in known])
    low = min([1.0] + [each.value for each in known])
    high += 0.08 * (high - low) or 1

    def across(i: int) -> float:
        return LEFT + span * (i + 0.5) / len(windows)

    def up(value: float) -> float:
        return top + (high - min(max(value, low), high)) / (high - low) * height

    parts = []
    for tick in _ticks(low, high):
        parts += [
            _line(LEFT, up(tick), WIDTH - RIGHT, up(tick), "grid"),
            _text(LEFT - 6, up(tick) + 4, f"{tick:g}", "end"),
        ]
    needed = [(across(i), each.needed) for i, each in enumerate(windows) if each.needed]
    if needed:
        ends = [(x, up(each.high)) for x, each in needed]
        ends += [(x, up(each.low)) for x, each in reversed(needed)]
        parts.append(f'<polygon points="{_points(ends)}" class="band"/>')
        middle = [(x, up(each.value)) for x, each in needed]
        parts.append(f'<polyline points="{_points(middle)}" class="even"/>')
    line = [(across(i), up(each.tokens.value)) for i, each in enumerate(windows)]
    parts.append(f'<polyline points="{_points(line)}" class="line"/>')
    every = math.ceil(len(windows) / 10)
    for i, (each, (x, y)) in enumerate(zip(windows, line, strict=True)):
        parts.append(_upright(x, up(each.tokens.high), up(each.tokens.low)))
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" class="point"/>')
        if i % every == 0:
            parts.append(_text(x, top + height + 16, str(i + 1), "middle"))
    parts.append(f'<circle cx="{LEFT + 6}" cy="10" r="4" class="point"/>')
    parts.append(_text(LEFT + 15, 14, "tokens a step", "start"))
    if needed:
        parts.append(_line(LEFT + 120, 10, LEFT + 148, 10, "even"))
        parts.append(_text(LEFT + 154, 14, "break-even", "start"))
    parts.append(_text(LEFT + span / 2, top + height + 34, "window", "middle"))
    return _svg(top + height + 42, label, parts)


def _svg(height: float, label: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(label)}">'
        f"{''.join(parts)}</svg>"
    )


def _ticks(start: float, end: float) -> list[float]:
    """Return about five round numbers between two, ends included where they are round."""
    rough = (end - start) / 5
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * each for each in (1, 2, 2.5, 5, 10) if unit * each >= rough * 0.999)
    first = math.ceil(start / step - 1e-9)
    return [round(i * step, 10) for i in range(first, math.floor(end / step + 1e-9) + 1)]


def _points(places: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def _bar(x: float, y: float, width: float, height: float, kind: str = "bar") -> str:
    size = f'width="{width:.1f}" height="{height:.1f}"'
    return f'<rect x="{x:.1f}" y="{y:.1f}" {size} class="{kind}"/>'


def _whisker(low: float, high: float, y: float) -> str:
    ends = "".join(_line(x, y - 5, x, y + 5, "whisker") for x in (low, high))
    return _line(low, y, high, y, "whisker") + ends


def _upright(x: float, high: float, low: float) -> str:
    ends = "".join(_line(x - 4, y, x + 4, y, "whisker") for y in (high, low))
    return _line(x, high, x, low, "whisker") + ends


def _fitted(x: float, y: float, text: str, kind: str) -> str:
    """Return a text about a place, or beside it where the picture ends."""
    half = 4.7 * len(text)
    return _text(min(max(x, half), WIDTH - half), y, text, "middle", kind)


def _text(x: float, y: float, text: str, anchor: str, kind: str = "") -> str:
    kind = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{kind}>{escape(text)}</text>'
