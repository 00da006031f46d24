"""Shares of a slowdown add up, follow what was planted, and do not hang on the order of causes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairdraft.economics.planning import losses
from fairdraft.economics.planning.losses import Acceptance, acceptance_losses, time_losses

rates = st.floats(1e-4, 1.0)


def acceptance(share: float, first: float, later: float, follows: float = 2.0) -> Acceptance:
    one = np.ones(1)
    return Acceptance(share * one, first * one, later * one, follows * one, 1 + 0.7 + 0.49)


def tokens(share: float, first: float, follows: float) -> float:
    return 1 + share * first * follows


@given(rates, rates, rates, st.floats(1.0, 6.0))
def test_losses_add_up_to_what_tokens_a_step_lack(
    share: float, first: float, later: float, follows: float
) -> None:
    found = acceptance(share, first, later, follows)
    sound = tokens(losses.SOUND_SHARE, losses.SOUND_RATE, found.sound)
    whole = float(sum(acceptance_losses(found).values())[0])
    assert whole == pytest.approx(np.log(sound / found.tokens[0]), abs=1e-6)


@given(st.floats(0.1, 5.0), st.lists(st.floats(-0.05, 2.0), min_size=3, max_size=3))
def test_seconds_on_top_add_up_to_the_longer_step(off: float, parts: list[float]) -> None:
    extra = {str(i): np.array([part]) for i, part in enumerate(parts)}
    on = np.array([max(off + sum(parts), 1e-3)])
    extra["0"] = extra["0"] + on - off - sum(parts)
    found = time_losses(on, np.array([off]), extra)
    assert float(sum(found.values())[0]) == pytest.approx(np.log(on[0] / off), abs=1e-6)


@given(st.lists(st.floats(-1.0, 3.0), min_size=2, max_size=7))
def test_shares_add_up_to_one_unless_nothing_is_lost(parts: list[float]) -> None:
    found = losses.shares({str(i): np.array([part]) for i, part in enumerate(parts)})
    total = float(sum(found.values())[0])
    assert total == pytest.approx(1.0) if max(parts) > 1e-9 else total <= 1.0
    assert all(share[0] >= 0 for share in found.values())


@pytest.mark.parametrize(
    ("found", "largest"),
    [
        (acceptance(0.05, 0.7, 0.7), losses.WORKLOAD),
        (acceptance(1.0, 0.05, 0.06, 1.1), losses.MISMATCH),
        (acceptance(1.0, 0.05, 0.8), losses.COLLAPSE),
        (acceptance(1.0, 0.5, 0.1, 1.1), losses.MISMATCH),
    ],
)
def test_the_factor_that_is_low_has_the_loss(found: Acceptance, largest: str) -> None:
    lost = {cause: float(loss[0]) for cause, loss in acceptance_losses(found).items()}
    assert max(lost, key=lost.__getitem__) == largest


def test_a_first_position_that_is_sound_has_not_collapsed() -> None:
    lost = acceptance_losses(acceptance(1.0, 0.9, 0.95))
    assert lost[losses.COLLAPSE][0] == 0
    assert lost[losses.MISMATCH][0] < 0
