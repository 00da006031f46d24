"""Terms of the equation, measured beside predicted, on runs whose truth is known."""

import numpy as np
import pytest

from fairdraft.economics.costs.cost_surface import CostSurface, Point
from fairdraft.economics.costs.profile import Profile
from fairdraft.economics.planning.reconcile import reconcile
from fairdraft.errors import ReadingError

K = 4
PLAIN, GROWTH, DRAFT = 0.030, 0.05, 0.1  # seconds; of a plain step, each row and each draft token


def profile():
    step = CostSurface(Point(1, n, 64, (PLAIN * (1 + GROWTH * (n - 1)),)) for n in range(1, K + 2))
    drafts = CostSurface(Point(1, n, 64, (PLAIN * DRAFT * n,)) for n in range(1, K + 1))
    return Profile("toy", "float32", {}, step, step, {"eagle3": drafts})


def cells(accepted_each, run=1.0, propose=1.0, prefill=0.0):
    """A run whose steps cost what the profile says, times the factors."""
    rounds = len(accepted_each)
    accepted = int(sum(accepted_each))
    on_run = rounds * PLAIN * (1 + GROWTH * K) * run
    on_propose = rounds * PLAIN * DRAFT * K * propose
    tokens = rounds + accepted
    off = {"times": {"total": tokens * PLAIN, "num_steps": tokens}}
    cell = {
        "dataset": "toy",
        "method": "eagle3",
        "k": K,
        "concurrency": 1,
        "counters": {
            "num_steps": rounds,
            "num_drafts": rounds,
            "num_draft_tokens": K * rounds,
            "num_accepted_tokens": accepted,
            "num_rejections": int(sum(a < K for a in accepted_each)),
            "drafted_per_pos": [rounds] * K,
        },
        "times": {"total": on_run + on_propose, "propose": on_propose, "num_steps": rounds},
        "speedup": (tokens * PLAIN + prefill) / (on_run + on_propose + prefill),
    }
    return cell, off


def iid(alpha, rounds=20_000):
    rng = np.random.default_rng(0)
    return np.minimum(rng.geometric(1 - alpha, rounds) - 1, K)


def test_where_the_equations_assumptions_hold_there_is_nothing_to_explain():
    found = reconcile(*cells(iid(0.7)), profile(), 64)
    assert found.error == pytest.approx(0, abs=0.01)
    assert found.cause == ""


@pytest.mark.parametrize(
    ("made", "cause"),
    [
        # All or nothing: the same α says another length.
        (cells(np.where(np.arange(20_000) % 2, K, 0)), "acceptance is not iid"),
        (cells(iid(0.7), run=1.3), "verify growth"),
        (cells(iid(0.7), propose=2.0), "drafting"),
        (cells(iid(0.7), prefill=200.0), "prefill and ends"),
    ],
)
def test_the_term_that_was_changed_is_named(made, cause):
    assert reconcile(*made, profile(), 64).cause == cause


@pytest.mark.parametrize(
    "made", [cells(iid(0.5)), cells(iid(0.7), run=1.2, propose=0.5, prefill=50.0)]
)
def test_terms_multiply_to_the_whole_error(made):
    found = reconcile(*made, profile(), 64)
    product = float(np.prod(list(found.terms.values())))
    assert product == pytest.approx(found.speedup / found.predicted_speedup)


def test_a_cell_that_lacks_something_is_told():
    cell, off = cells(iid(0.5))
    del cell["counters"]["num_rejections"]
    with pytest.raises(ReadingError, match="lacks 'num_rejections'"):
        reconcile(cell, off, profile(), 64)
