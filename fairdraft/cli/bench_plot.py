"""A benchmark as a picture: tokens per run and speedup against k, beside the equation."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fairdraft.cli.bench_report import Report
from fairdraft.cli.options import NO_SPECULATION
from fairdraft.economics import expected_tokens_per_verify
from fairdraft.errors import ConfigError
from fairdraft.telemetry import SpecCounters, StepTimes

Cells = Sequence[dict[str, Any]]


def draw(result: Report, path: Path) -> None:
    """Two panels, one line per dataset × concurrency × method, each with its dashed equation.

    Dashed is the equation's forecast for a line, at the line's own alpha and share of steps with a
    draft (all k pooled) and with drafts of full length:

        tokens per run = 1 + share · (E(alpha, k) − 1)
        speedup = tokens per run / (1 + c · share · k · concurrency)

    where c is the time to draft one token in steps without speculation, and verifying is free, as
    Leviathan et al. 2023 assume. What a measured line stays below its curve is what they assume
    away: verification that takes longer, drafts that fall short of k, tokens that depend.

    Args:
        result: what `bench run` wrote.
        path: the picture; its suffix chooses the format.

    Raises:
        ConfigError: no cell speculates, or matplotlib does not know the suffix.
    """
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    try:
        lines = _lines(result["cells"])
        figure, axes = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
        for (name, cells, reference), colour in zip(lines, itertools.cycle(COLOURS)):
            _draw_line(axes, name, cells, reference, colour)
    except (KeyError, TypeError) as error:
        ...
