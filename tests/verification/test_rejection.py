"""The drawn rules on tensors; that they are lossless is proved in tests/testing/test_proof.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fairdraft.config import SamplingParams
from fairdraft.draft import Draft, Verdict
from fairdraft.proof.exact import Script, World, every_course, law_of
from fairdraft.request import Request
from fairdraft.sampling.noise import Purpose, bits, race
from fairdraft.sampling.sampler import RoundDraws
from fairdraft.stats.goodness import distance
from fairdraft.verification import block, standard, synthetic

DRAWS = 200_000


class Fixed:
    """Rejects every token, or none, and notes the law that the last token comes from."""

    def __init__(self, stands: bool) -> None:
        self.stands = stands
        self.law: Any = None

    def accept(self, node: int, probability: Any) -> bool:
        return self.stands

    def token(self, row: int, law: Any) -> int:
        self.law = law
        return int(law.argmax())


@pytest.mark.parametrize("rule", [standard, block])
def test_tensors_go_through_the_same_lines(rule: Callable[..., Verdict]) -> None:
    p, q = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.1, 0.2, 0.7])
    rejects, accepts = Fixed(False), Fixed(True)
    draft = Draft((2,), probs=q[None])
    assert rule([p, p], draft, rejects) == Verdict((), 0)
    left = rejects.law / rejects.law.sum()
    torch.testing.assert_close(left, torch.tensor([0.8, 0.2, 0.0]))
    assert rule([p, p], draft, accepts) == Verdict((0,), 0)
    torch.testing.assert_close(accepts.law, p)


@pytest.mark.parametrize("rule", [standard, block])
def test_laws_that_differ_by_rounding_alone_leave_a_law(rule: Callable[..., Verdict]) -> None:
    p = torch.tensor([0.25, 0.75])
    verdict = rule([p, p], Draft((0,), probs=p[None].clone()), Fixed(False))
    assert verdict.token in (0, 1)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10**6), rule=st.sampled_from([standard, block]))
def test_floats_decide_as_fractions_do(seed: int, rule: Callable[..., Verdict]) -> None:
    """Every course of a small world, replayed on float tensors with the same decisions."""
    world = World.random(seed, 2)

    def experiment(script: Script) -> None:
        tokens: tuple[int, ...] = ()
        for i in range(2):
            tokens = (*tokens, script.token(i, world.drafter[tokens]))
        laws = [world.drafter[tokens[:i]] for i in range(2)]
        exact = Draft(tokens, probs=laws)
        rows = world.rows(exact)
        asked: list[tuple[str, Any, Any]] = []

        class Listener:
            def accept(self, node: int, probability: Any) -> bool:
                answer = script.accept(node, probability)
                asked.append(("accept", float(probability), answer))
                return answer

            def token(self, row: int, law: Any) -> int:
                answer = script.token(row, law)
                asked.append(("token", (law / sum(law)).astype(float), answer))
                return answer

        class Replay:
            def accept(self, node: int, probability: Any) -> bool:
                kind, expected, answer = asked.pop(0)
                assert kind == "accept"
                assert min(float(probability), 1) == pytest.approx(min(expected, 1), abs=1e-9)
                return bool(answer)

            def token(self, row: int, law: Any) -> int:
                kind, expected, answer = asked.pop(0)
                assert kind == "token"
                np.testing.assert_allclose((law / law.sum()).numpy(), expected, atol=1e-9)
                return int(answer)

        verdict = rule(rows, exact, Listener())
        floats = [torch.tensor(row.astype(float)) for row in rows]
        probs = torch.stack([torch.tensor(law.astype(float)) for law in laws])
        assert rule(floats, Draft(tokens, probs=probs), Replay()) == verdict
        assert not asked

    for _ in every_course(experiment):
        pass


@pytest.mark.parametrize("rule", [standard, block])
def test_a_clueless_drafter_lands_on_the_target(rule: Callable[..., Verdict]) -> None:
    """200,000 first tokens through a uniform drafter: within 0.005 of the target's law."""
    p = np.array([0.42, 0.27, 0.15, 0.1, 0.05, 0.01, 0.0, 0.0])
    q = np.full(8, 1 / 8)
    rng = np.random.default_rng(1)

    class Chance:
        def accept(self, node: int, probability: float) -> bool:
            return bool(rng.random() < probability)

        def token(self, row: int, law: Any) -> int:
            edges = law.cumsum()
            return int(np.searchsorted(edges, rng.random() * edges[-1], side="right"))

    counts = np.zeros(8)
    accepted = 0
    for token in rng.integers(8, size=DRAWS):
        draft = Draft((int(token),), probs=[q])
        verdict = rule([p, p], draft, Chance())
        accepted += verdict.num_accepted
        counts[draft.token_ids[0] if verdict.path else verdict.token] += 1
    assert distance(counts, p) < 0.005
    assert accepted / DRAWS == pytest.approx(np.minimum(p, q).sum(), abs=0.005)  # α = Σ min(p, q)


def test_a_clueless_drafter_lands_on_the_target_by_coupling() -> None:
    p = np.array([0.42, 0.27, 0.15, 0.1, 0.05, 0.01, 0.0, 0.0], np.float32)
    q = np.full(8, 1 / 8, np.float32)
    counts = np.zeros(8)
    accepted = 0
    for i in range(DRAWS):
        key = bits(3, Purpose.COUPLED, i)
        token = race(p, key)
        accepted += race(q, key) == token
        counts[token] += 1
    assert distance(counts, p) < 0.005
    far = 1 - np.minimum(p, q).sum()
    assert accepted / DRAWS >= (1 - far) / (1 + far)


def test_block_refuses_trees() -> None:
    draft = Draft((0, 1), (-1, -1), [law_of(1, 1, 1)] * 2)
    with pytest.raises(ValueError, match="chains, not trees"):
        block([law_of(1, 1, 1)] * 3, draft, Fixed(True))


def test_synthetic_acceptance_keeps_its_rates() -> None:
    draft = Draft((4, 5, 6))
    counts = np.zeros(4)
    for i in range(20_000):
        request = Request(str(i), (1,), SamplingParams(), seed=i)
        verdict = synthetic(draft, (1.0, 0.5, 0.2), RoundDraws(request).uniform(), lambda row: row)
        counts[verdict.num_accepted] += 1
        assert verdict.token == verdict.num_accepted
    assert counts / counts.sum() == pytest.approx([0, 0.5, 0.3, 0.2], abs=0.015)


def test_synthetic_acceptance_takes_a_trees_first_branch() -> None:
    tree = Draft((1, 2, 3, 4), (-1, -1, 0, 1))
    assert synthetic(tree, (1, 1, 1), 0.5, lambda row: row) == Verdict((0, 2), 3)
