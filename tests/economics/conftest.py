"""A machine for policies to run on."""

from fairdraft.economics.costs.cost_surface import CostSurface, Point
from fairdraft.economics.costs.profile import Profile

K = 8


def linear(per_row=0.05, draft=1e-6):
    """A machine whose steps take 1 + per_row · (rows − requests)."""
    step = [
        Point(b, n, 4096, (1 + per_row * b * (n - 1),)) for b in (1, 4) for n in range(1, K + 2)
    ]
    drafts = [Point(b, n, 4096, (draft * n,)) for b in (1, 4) for n in range(1, K + 1)]
    surface = CostSurface(step)
    return Profile("toy", "float32", {}, surface, surface, {"ngram": CostSurface(drafts)})
