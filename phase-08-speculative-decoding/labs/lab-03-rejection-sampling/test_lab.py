"""What lab 03 must do. Read from the top: the first part builds it, the second one proves it."""

from __future__ import annotations

import itertools
from functools import cache

import numpy as np
import pytest

P = np.array([0.5, 0.3, 0.2])
Q = np.array([0.2, 0.2, 0.6])
DRAWS = 200_000


def random_law(rng, size):
    law = rng.dirichlet(np.full(size, 0.6))
    law[rng.random(size) < 0.2] = 0  # tokens that cannot come, in either law
    return law / law.sum() if law.sum() > 0 else np.eye(size)[0]


def random_pairs(count=200):
    rng = np.random.default_rng(3)
    sizes = rng.integers(2, 9, size=count)
    return [(random_law(rng, size), random_law(rng, size)) for size in sizes]


def test_accept_probability_by_hand(lab):
    assert lab.accept_probability(P, Q) == pytest.approx([1, 1, 1 / 3])


def test_accept_probability_where_nothing_is_drafted(lab):
    found = lab.accept_probability(np.array([0.5, 0.5, 0.0]), np.array([1.0, 0.0, 0.0]))
    assert found == pytest.approx([0.5, 1, 1])


def test_residual_by_hand(lab):
    assert lab.residual(P, Q) == pytest.approx([0.75, 0.25, 0])


def test_residual_is_a_law_and_has_nothing_where_q_has_more(lab):
    for p, q in random_pairs():
        law = lab.residual(p, q)
        assert law.sum() == pytest.approx(1)
        assert (law >= 0).all()
        if not np.allclose(p, q):
            assert law[q >= p].sum() == 0
    assert lab.residual(P, P) == pytest.approx(P)


def test_acceptance_rate_is_the_overlap(lab):
    assert lab.acceptance_rate(P, Q) == pytest.approx(0.6)
    for p, q in random_pairs():
        assert lab.acceptance_rate(p, q) == pytest.approx(1 - np.abs(p - q).sum() / 2)


def test_theorem(lab):
    """A token comes as an accepted draft or from the residual; together that is p, exactly."""
    for p, q in random_pairs():
        stands = q * lab.accept_probability(p, q)
        rejected = 1 - stands.sum()
        assert stands.sum() == pytest.approx(lab.acceptance_rate(p, q))
        assert stands + rejected * lab.residual(p, q) == pytest.approx(p, abs=1e-12)


def test_200_000_draws_through_a_uniform_drafter(lab):
    """Every one of 64 tokens comes as often as p says, within 0.005."""
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.full(64, 4.0))
    tokens, accepted = lab.draw(p, np.full(64, 1 / 64), DRAWS, rng)
    shares = np.bincount(tokens, minlength=64) / DRAWS
    worst = int(np.abs(shares - p).argmax())
    assert abs(shares[worst] - p[worst]) < 0.005, (
        f"token {worst} came in {shares[worst]:.3f} of the draws, and p says {p[worst]:.3f}"
    )
    assert accepted.mean() == pytest.approx(lab.acceptance_rate(p, np.full(64, 1 / 64)), abs=0.005)


def test_a_drafter_that_is_the_target_is_always_accepted(lab):
    tokens, accepted = lab.draw(P, P, DRAWS, np.random.default_rng(1))
    assert accepted.all()
    assert lab.total_variation(P, tokens) < 0.005


def test_a_drafter_that_is_always_wrong_costs_time_not_truth(lab):
    p, q = np.array([0.7, 0.3, 0, 0]), np.array([0, 0, 0.5, 0.5])
    tokens, accepted = lab.draw(p, q, DRAWS, np.random.default_rng(2))
    assert not accepted.any()
    assert lab.total_variation(p, tokens) < 0.005


def test_tolerance_shrinks_with_the_root_of_the_draws(lab):
    rng = np.random.default_rng(4)
    few, many = lab.tolerance(P, 1000, rng), lab.tolerance(P, 100_000, rng)
    assert few / many == pytest.approx(10, rel=0.25)
    tight = [lab.tolerance(P, 1000, rng, trials=1) for _ in range(20)]
    assert np.mean(tight) < few / 2  # one trial is an ordinary sample, not the largest of many


def test_tolerance_grows_with_the_vocabulary(lab):
    """0.005 is a guess: too strict for many tokens, too lax for few."""
    rng = np.random.default_rng(5)
    assert lab.tolerance(np.full(3, 1 / 3), DRAWS, rng) < 0.005
    assert lab.tolerance(np.full(512, 1 / 512), DRAWS, rng) > 0.015


def test_tolerance_accuses_no_innocent(lab):
    rng = np.random.default_rng(6)
    bound = lab.tolerance(P, 20_000, rng)
    honest = [rng.choice(3, size=20_000, p=P) for _ in range(200)]
    assert sum(lab.total_variation(P, tokens) > bound for tokens in honest) <= 2


@cache
def law_after(text):
    """A law of three tokens that depends on everything before it."""
    rng = np.random.default_rng([7, len(text), *text])
    return rng.dirichlet(np.ones(3))


@cache
def drafter_after(text):
    """A bad drafter: what is wrong with a round shows only where drafts are rejected."""
    return np.roll(law_after(text), 1)


def test_round_without_a_draft_is_plain_decoding(lab):
    rng = np.random.default_rng(8)
    tokens = [lab.draw_round(law_after, drafter_after, 0, rng) for _ in range(5000)]
    assert {len(gained) for gained in tokens} == {1}
    first = np.array([gained[0] for gained in tokens])
    assert lab.total_variation(law_after(()), first) < lab.tolerance(law_after(()), 5000, rng)


def test_round_gives_one_to_k_plus_one_tokens(lab):
    rng = np.random.default_rng(9)
    lengths = {len(lab.draw_round(law_after, drafter_after, 3, rng)) for _ in range(500)}
    assert lengths == {1, 2, 3, 4}


def test_round_accepts_everything_from_the_target_itself(lab):
    rng = np.random.default_rng(10)
    assert all(len(lab.draw_round(law_after, law_after, 3, rng)) == 4 for _ in range(200))


@pytest.mark.parametrize("k", [1, 2, 3])
def test_round_keeps_the_joint_law_of_k_plus_1_tokens(lab, k):
    """Whole texts are as likely as the target makes them, whichever rounds gave their tokens."""
    rng, count, length = np.random.default_rng(11), 20_000, k + 1
    joint = np.ones(3**length)
    for cell, text in enumerate(itertools.product(range(3), repeat=length)):
        for place in range(length):
            joint[cell] *= law_after(text[:place])[text[place]]
    cells = np.empty(count, dtype=np.int64)
    for i in range(count):
        text = ()
        while len(text) < length:
            text += tuple(
                lab.draw_round(
                    lambda rest, text=text: law_after(text + rest),
                    lambda rest, text=text: drafter_after(text + rest),
                    k,
                    rng,
                )
            )
        cells[i] = sum(3 ** (length - 1 - place) * text[place] for place in range(length))
    assert lab.total_variation(joint, cells) < lab.tolerance(joint, count, rng)


# The second part: tolerances that were calculated, where a guess lets a fault through.


@pytest.mark.parametrize("size", [2, 3, 4, 8, 64])
def test_draws_stay_within_what_chance_allows(lab, size):
    rng = np.random.default_rng(12)
    p, q = rng.dirichlet(np.ones(size)), rng.dirichlet(np.ones(size))
    tokens, _ = lab.draw(p, q, DRAWS, rng)
    assert lab.total_variation(p, tokens) < lab.tolerance(p, DRAWS, rng)
