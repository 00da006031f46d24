"""Plans of whole runs: at a load beside decoding alone, and at a rate."""

from __future__ import annotations

import pytest

from fairdraft.economics.planning.acceptance import Acceptance
from fairdraft.economics.planning.planner import plan
from fairdraft.economics.planning.queueing import Limits
from fairdraft.economics.planning.rates import plan_rate, served_at_load
from fairdraft.economics.planning.traffic import Traffic
from fairdraft.errors import ConfigError
from tests.economics.planning.conftest import METHOD, costs

TRAFFIC = Traffic((300,), (50,))
GOOD, POOR = Acceptance.of_alpha(0.8), Acceptance.of_alpha(0.02)


def test_prompts_weigh_on_a_speedup() -> None:
    """The estimate is the simulation's; the interval is around it."""
    alone = plan(costs(), GOOD, [2], [1, 8])
    whole = plan(costs(), GOOD, [2], [1, 8], traffic=TRAFFIC)
    for n in (1, 8):
        cell, off = whole.cells[METHOD, n, 2], whole.cells[METHOD, n, 0]
        decoding = alone.cells[METHOD, n, 2]
        assert cell is not None
        assert off is not None
        assert decoding is not None
        assert cell.served is not None
        assert off.served is not None
        assert 1 < cell.speedup.value < decoding.speedup.value
        assert cell.speedup.low < cell.speedup.value < cell.speedup.high
        rates = [each.served.tokens_per_second for each in (cell, off) if each.served]
        assert cell.tokens_per_second.value == pytest.approx(rates[0])
        assert cell.speedup.value == pytest.approx(rates[0] / rates[1])
        assert cell.tpot == pytest.approx(cell.served.inter_token.mean())
        assert decoding.served is None
        assert decoding.reading == 0


def test_where_prompts_are_all_of_it_nothing_is_gained() -> None:
    found = plan(costs(), GOOD, [2], [1], traffic=Traffic((1000,), (1,)))
    choice = found.choices[METHOD, 1]
    assert choice is not None
    assert choice.k == 0
    assert choice.above is None


def test_one_client_alone_waits_for_nobody() -> None:
    served = served_at_load(costs(), TRAFFIC, 1, METHOD, 2, GOOD, Limits())
    assert served.ttft.std() == pytest.approx(0)
    assert served.decoding <= 1


def test_a_rate() -> None:
    found = plan_rate(costs(), GOOD, METHOD, TRAFFIC, 0.3, (1, 2, 4), Limits(8))
    assert found.k > 0
    assert set(found.cells) == {0, 1, 2, 4}
    assert found.saturates == max(cell.saturates for cell in found.cells.values())
    chosen, off = found.cells[found.k].served, found.cells[0].served
    assert chosen.mean_latency < off.mean_latency
    assert chosen.requests_per_second == pytest.approx(0.3, rel=0.1)
    rates = [rate for rate, _ in found.changes]
    assert rates == sorted(rates)
    assert rates[-1] < found.saturates
    assert all(a != b for (_, a), (_, b) in zip(found.changes, found.changes[1:], strict=False))
    again = plan_rate(costs(), GOOD, METHOD, TRAFFIC, 0.3, (1, 2, 4), Limits(8))
    assert (again.k, again.changes, again.saturates) == (found.k, found.changes, found.saturates)


def test_poor_drafts_are_off_at_every_rate() -> None:
    found = plan_rate(costs(), POOR, METHOD, TRAFFIC, 0.3, (2, 4), Limits(8))
    assert (found.k, [k for _, k in found.changes]) == (0, [0])
    assert found.off_from == found.changes[0][0]


def test_beyond_what_is_finished_the_one_that_finishes_most() -> None:
    found = plan_rate(costs(), GOOD, METHOD, TRAFFIC, 1000.0, (1, 2), Limits(8))
    assert found.cells[found.k].saturates == found.saturates < 1000


def test_more_at_once_than_was_measured() -> None:
    with pytest.raises(ConfigError, match="1 to 64 requests at context 300 were not measured"):
        plan_rate(costs(), GOOD, METHOD, TRAFFIC, 1.0, (2,), Limits(64))
    assert plan_rate(costs(), GOOD, METHOD, TRAFFIC, 0.3, (2,), Limits(16), extrapolate=True).cells


def test_a_sweep_has_no_prompts() -> None:
    from dataclasses import replace

    with pytest.raises(ConfigError, match="does not say what reading a prompt takes"):
        plan(replace(costs(), prompts=None), GOOD, [2], [1], traffic=TRAFFIC)
