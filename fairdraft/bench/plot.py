"""A benchmark as a picture: tokens per run and speedup against k, beside the equation."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fairdraft.bench.grid import KEPT, NO_SPECULATION
from fairdraft.bench.report import Report
from fairdraft.economics import expected_tokens_per_verify
from fairdraft.errors import ConfigError
from fairdraft.telemetry import SpecCounters


@dataclass
class Line:
    """Cells of one dataset, concurrency and method, by k, and their reference without drafts."""

    name: str
    concurrency: int
    cells: list[Report]
    reference: Report | None

    @property
    def ks(self) -> NDArray[np.int64]:
        """Draft lengths that were measured."""
        return np.array([cell["k"] for cell in self.cells])

    def equation(self, ks: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return tokens per run and speedup at each k; `draw` says how they are worked out."""
        counters = SpecCounters()
        for cell in self.cells:
            counters.merge(_counters(cell))
        accepted = counters.num_accepted_tokens
        f = (counters.num_drafts + accepted) / max(counters.num_steps + accepted, 1)
        expected = np.asarray(expected_tokens_per_verify(counters.alpha, ks))
        tokens = 1 / (1 - f + f / expected)
        if self.reference is None:
            return tokens, np.full_like(tokens, np.nan)
        step = self.reference["times"]["total"] / self.reference["times"]["num_steps"]
        propose = sum(cell["times"]["propose"] for cell in self.cells)
        c = propose / max(counters.num_draft_tokens, 1) / step
        drafts_per_run = tokens * f / expected * ks
        return tokens, tokens / (1 + c * drafts_per_run * self.concurrency)


def draw(result: Report, path: Path) -> None:
    """Draw a line for each dataset, concurrency and method, with the equation's curve dashed.

    The curve is the equation at the line's own alpha and its own share f of tokens that came out
    of steps with a draft, both over all its k together; the other tokens take a step each:

        tokens per run = 1 / (1 − f + f / E(alpha, k))
        speedup = tokens per run / (1 + c · drafted tokens per step)

    with c the time to draft a token in steps without speculation. It takes drafts of full length
    and verification for free, as Leviathan et al. 2023 do: where a measured line runs below its
    curve, drafts fell short of k, their tokens hang together, or verifying more rows took longer.

    Args:
        result: what `bench run` wrote.
        path: the picture; its suffix chooses the format.

    Raises:
        ConfigError: no cell speculates.
    """
    lines = _lines(result)
    if not lines:
        raise ConfigError("no cell speculates: measure a method besides none")
    panels = 2 if any(line.reference for line in lines) else 1
    figure = Figure(figsize=(5.5 * panels, 4.5), layout="constrained")
    axes: list[Axes] = list(figure.subplots(1, panels, squeeze=False)[0])
    for i, line in enumerate(lines):
        _draw_line(axes, line, f"C{i}")
    for axis, name in zip(axes, ("tokens per run", "speedup"), strict=False):
        axis.axhline(1, color="grey", linewidth=0.8)
        axis.set_xlabel("draft length k")
        axis.set_ylabel(name)
        axis.set_xticks(sorted({int(k) for line in lines for k in line.ks}))
    axes[0].legend(title="dashed: the equation", fontsize="small")
    figure.suptitle(_title(result))
    figure.savefig(path, dpi=150)


def _counters(cell: Report) -> SpecCounters:
    """Return a cell's counts; what follows from them is worked out anew."""
    told = cell["counters"]
    return SpecCounters(**{f.name: told[f.name] for f in fields(SpecCounters) if f.name in told})


def _draw_line(axes: list[Axes], line: Line, colour: str) -> None:
    curve = np.arange(line.ks.max() + 1)
    measured = (
        [_counters(cell).tokens_per_step for cell in line.cells],
        [np.nan if cell["speedup"] is None else cell["speedup"] for cell in line.cells],
    )
    for axis, points, expected in zip(axes, measured, line.equation(curve), strict=False):
        axis.plot(line.ks, points, marker="o", color=colour, label=line.name)
        axis.plot(curve, expected, linestyle="dashed", color=colour)


def _lines(result: Report) -> list[Line]:
    lines: dict[tuple[str, int, str], Line] = {}
    references: dict[tuple[str, int], Report] = {}
    for cell in result["cells"]:
        setting = (cell["dataset"], cell["concurrency"])
        if cell["method"] == NO_SPECULATION:
            references[setting] = cell
            continue
        key = (*setting, cell["method"])
        name = f"{Path(setting[0]).stem}, {cell['method']}, {setting[1]} at once"
        lines.setdefault(key, Line(name, setting[1], [], None)).cells.append(cell)
    for (dataset, concurrency, _), line in lines.items():
        line.cells.sort(key=lambda cell: int(cell["k"]))
        line.reference = references.get((dataset, concurrency))
    return list(lines.values())


def _title(result: dict[str, Any]) -> str:
    settings, environment = result["settings"], result["environment"]
    machine = environment["gpu"] or f"{environment['cpu']}, {environment['cores']} cores"
    # Results of before the key was written kept memory, and did not say so.
    kept = ", memory kept" if result.get("memory", KEPT) == KEPT else ""
    return f"{settings['model']}, {settings['dtype']}, {machine}{kept}"
