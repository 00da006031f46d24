"""A machine with prompts, whose steps cost what a formula says."""

from __future__ import annotations

from fairdraft.economics.costs.cost_surface import CostSurface, Point
from fairdraft.economics.costs.profile import Profile
from fairdraft.economics.costs.step_costs import StepCosts

METHOD = "ngram"
PLAIN, ROW, TOKEN, DRAFT = 20e-3, 1e-3, 1e-5, 1e-4  # seconds: a step, a row, context, a draft


def step_seconds(requests: float, drafted: float, context: float) -> float:
    """Of a step that only decodes, drafting left out."""
    return PLAIN + ROW * (requests + drafted) + TOKEN * requests * context


def machine(most: int = 8, k: int = 4) -> Profile:
    """Steps of 1 to `most` requests at contexts up to 1024, and prompts of up to 512 rows."""
    step = CostSurface(
        Point(n, rows, context, tuple(step_seconds(n, n * (rows - 1), context) * x for x in NOISE))
        for n in (1, most)
        for rows in range(1, k + 2)
        for context in (64, 1024)
    )
    drafts = CostSurface(
        Point(n, rows, context, (DRAFT * n,))
        for n in (1, most)
        for rows in range(1, k + 1)
        for context in (64, 1024)
    )
    prefill = CostSurface(
        Point(1, rows, start, (PLAIN + ROW * rows + 1e-6 * rows * (start + rows / 2),))
        for rows in (16, 512)
        for start in (0, 512)
    )
    reading = {METHOD: CostSurface(Point(1, rows, 0, (1e-5 * rows,)) for rows in (16, 512))}
    return Profile("toy", "float32", {}, step, step, {METHOD: drafts}, prefill, reading=reading)


NOISE = (0.99, 1.0, 1.01)


def costs(context: float = 300, most: int = 8) -> StepCosts:
    """Of that machine."""
    return StepCosts.of_profile(machine(most), context)
