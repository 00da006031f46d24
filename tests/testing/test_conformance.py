"""The suite passes what is sound and catches what is not: proposers of ours, and planted faults."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM as Auto

from fairdraft.config import SamplingParams
from fairdraft.draft import EMPTY_DRAFT, Draft
from fairdraft.engine.engine import Engine
from fairdraft.errors import ConfigError
from fairdraft.models import ModelRunner
from fairdraft.proposers.draft_model.proposer import DraftModelProposer
from fairdraft.proposers.ngram import NgramProposer
from fairdraft.request import Request
from fairdraft.sampling import sampler
from fairdraft.sampling.batch import RoundBatch
from fairdraft.sampling.noise import Purpose, uniform
from fairdraft.sampling.rounds import Way
from fairdraft.sampling.sampler import DraftNoise, RoundDraws, draw
from fairdraft.testing import (
    ConformanceError,
    ToyProposer,
    ToyRunner,
    ToyTreeProposer,
    check_proposer,
    toy_config,
)
from fairdraft.testing.conformance import LAW_PARAMS, PARAMS, Suite
from fairdraft.testing.laws import text_law
from fairdraft.testing.toy import toy_logits


def test_a_choosing_proposer_passes() -> None:
    report = check_proposer(ToyProposer, accuracy=0.6)
    assert report.deterministic
    assert report.draws == 0
    assert report.texts >= 8 * 3 * 4
    assert 0 < report.accepted < report.drafted


@pytest.mark.parametrize(("accuracy", "draws"), [(0.0, 1_000), (0.7, 2_500)])
def test_a_drawing_proposer_passes(accuracy: float, draws: int) -> None:
    report = check_proposer(ToyProposer, accuracy=accuracy, sampled=True, draws=draws)
    assert not report.deterministic
    assert set(report.p_values) == {
        f"{rule}, {name}" for rule in ("standard", "block") for name in LAW_PARAMS
    }
    assert min(report.p_values.values()) > 1e-4


def test_trees_pass_chosen_and_drawn() -> None:
    assert check_proposer(ToyTreeProposer, num_speculative_tokens=6).deterministic
    report = check_proposer(ToyTreeProposer, num_speculative_tokens=6, sampled=True, draws=1_000)
    assert all(name.startswith("standard") for name in report.p_values)


def test_trees_are_refused_by_the_block_rule() -> None:
    rule = {"method": "off", "rejection_sample_method": "block"}
    with pytest.raises(ConfigError, match="takes chains, but the proposer drafts trees"):
        Engine(toy_config(speculative_config=rule), ToyRunner(), proposer=ToyTreeProposer(4))


@pytest.mark.parametrize("options", [{}, {"prompt_lookup_min": 1, "prompt_lookup_max": 3}])
def test_prompt_lookup_passes(options: dict[str, int]) -> None:
    report = check_proposer(NgramProposer, **options)
    assert 50 < report.accepted < report.drafted


class Silent(ToyProposer):
    """Never drafts."""

    def draft(self, request: Request, budget: int, noise: DraftNoise) -> Draft:
        return EMPTY_DRAFT


class AlwaysWrong(ToyProposer):
    """Drafts the token that the target likes least; greedy decoding never says it."""

    def draft(self, request: Request, budget: int, noise: DraftNoise) -> Draft:
        logits = toy_logits([(token, i) for i, token in enumerate(request.token_ids)])
        return Draft((int(logits.argmin()),)[:budget])


def test_a_proposer_that_drafts_nothing_has_shown_nothing() -> None:
    with pytest.raises(ConformanceError, match=r"not one token was drafted .*prompts=…"):
        check_proposer(Silent)


def test_a_proposer_whose_drafts_never_stand_has_shown_nothing() -> None:
    suite = Suite(ToyRunner, lambda: AlwaysWrong(4))
    suite.check_identity("standard", "greedy", PARAMS["greedy"])
    assert suite.report.drafted
    with pytest.raises(ConformanceError, match=r"none of \d+ drafted tokens .*runner=…"):
        suite.require_drafts()


def test_prompts_of_the_users_own() -> None:
    """Without a repetition prompt lookup has nothing to copy at first; with one it does."""
    own = check_proposer(NgramProposer, prompts=[[3, 1, 4, 1, 5, 9, 2, 6] * 3])
    assert own.accepted
    assert own.texts == 4 * 3 + 2 * 3


@pytest.mark.parametrize(
    ("kind", "method"),
    [
        ("llama", "greedy"),
        ("llama", "probabilistic"),
        ("gemma3_text", "greedy"),
        ("gpt2", "probabilistic"),
    ],
)
def test_self_drafting_passes(kind: str, method: str, tiny: Callable[[str], Path]) -> None:
    def runner() -> ModelRunner:
        return ModelRunner(Auto.from_pretrained(tiny(kind), dtype=torch.float32))

    report = check_proposer(
        DraftModelProposer, runner=runner, draft_sample_method=method, draws=500
    )
    assert report.deterministic == (method == "greedy")
    assert 0 < report.accepted < report.drafted


def test_the_law_of_texts_sums_to_one() -> None:
    law = text_law(ToyRunner(), (1, 2, 3), LAW_PARAMS["top-k"])
    assert sum(law.values()) == pytest.approx(1)
    assert len(law) == 2**4


# --- planted faults


class DropsUnlikely(ToyProposer):
    """Cuts a drawn draft before its first unlikely token."""

    def propose(self, *args: Any) -> list[Draft]:
        drafts = super().propose(*args)
        return [d.trimmed(self._likely(d)) for d in drafts]

    def _likely(self, draft: Draft) -> int:
        for i, token in enumerate(draft.token_ids):
            if draft.probs[i][token] < 0.3:
                return i
        return len(draft)


class LawsOneRowLate(ToyProposer):
    """Hands on the laws of the rows behind."""

    def propose(self, *args: Any) -> list[Draft]:
        drafts = super().propose(*args)
        return [replace(d, probs=(d.probs.roll(-1, 0) + 1e-3) / (1 + 0.032)) for d in drafts]


class ArgmaxAsDrawn(ToyProposer):
    """Chooses the likeliest token and says it was drawn."""

    def propose(self, *args: Any) -> list[Draft]:
        drafts = super().propose(*args)
        return [
            replace(d, token_ids=tuple(d.probs.argmax(-1).tolist())) if len(d) else d
            for d in drafts
        ]


@pytest.mark.parametrize("fault", [DropsUnlikely, LawsOneRowLate, ArgmaxAsDrawn])
def test_a_biased_proposer_is_caught(fault: type[ToyProposer]) -> None:
    with pytest.raises(ConformanceError, match="do not follow the target's law"):
        check_proposer(fault, accuracy=0.4, sampled=True, draws=4_000)


class Wrong(ToyProposer):
    """Breaks the contract in the way it is told."""

    def __init__(self, k: int, wrong: Callable[[Draft], Draft]) -> None:
        super().__init__(k, sampled=True)
        self.wrong = wrong

    def propose(self, *args: Any) -> list[Draft]:
        return [self.wrong(d) for d in super().propose(*args)]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda d: Draft((*d.token_ids, 1)), "the budget is"),
        (lambda d: Draft((99,)), "outside the vocabulary"),
        (lambda d: Draft((1, 1), (-1, -1)), "drafts_trees is False"),
        (lambda d: Draft(d.token_ids, probs=2 * d.probs), "sum to 2"),
        (lambda d: Draft((1,), probs=torch.eye(32)[:1]), "gives it 0"),
    ],
)
def test_a_broken_contract_is_told(wrong: Callable[[Draft], Draft], message: str) -> None:
    with pytest.raises(ConformanceError, match=message):
        check_proposer(Wrong, wrong=wrong)


# --- faults in the engine's own randomness

COIN = torch.full((32,), -torch.inf)
COIN[:2] = torch.tensor([0.7, 0.3]).log()


class CoinRunner(ToyRunner):
    """p = [.7, .3], whatever came before."""

    def logits(self, path: Sequence[tuple[int, int]]) -> torch.Tensor:
        return COIN


class CoinProposer(ToyProposer):
    """q = [.4, .6], whatever came before."""

    def draft(self, request: Request, budget: int, noise: DraftNoise) -> Draft:
        law = torch.zeros(32)
        law[:2] = torch.tensor([0.4, 0.6])
        tokens = tuple(noise.draw(request, i, law) for i in range(budget))
        return Draft(tokens, probs=[law] * budget)


COIN_PARAMS = SamplingParams(top_k=2, max_tokens=6, ignore_eos=True)


def check_coins(rule: str, draws: int) -> None:
    """The law of six coins; the suite's own texts are too short for a second round of k = 2."""
    suite = Suite(CoinRunner, lambda: CoinProposer(2))
    suite.check_law(rule, "coins", COIN_PARAMS, draws)
    suite.settle()


@pytest.mark.parametrize("rule", ["standard", "block"])
def test_coins_pass(rule: str) -> None:
    check_coins(rule, 4_000)


def test_a_draft_drawn_with_the_verifiers_noise_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def peeking(self: DraftNoise, request: Request, index: int, law: torch.Tensor) -> int:
        return draw(law, uniform(request.seed, Purpose.ACCEPT, request.num_tokens, index))

    monkeypatch.setattr(DraftNoise, "draw", peeking)
    with pytest.raises(ConformanceError, match="do not follow the target's law"):
        check_coins("standard", 4_000)


class Siblings(CoinProposer):
    """Two siblings drawn without replacement from q = [.2, .6, .2]; `honest` says so in `probs`."""

    drafts_trees = True
    honest = True

    def draft(self, request: Request, budget: int, noise: DraftNoise) -> Draft:
        law = torch.zeros(32)
        law[:3] = torch.tensor([0.2, 0.6, 0.2])
        first = noise.draw(request, 0, law)
        without = law.clone()
        without[first] = 0
        without /= without.sum()
        second = noise.draw(request, 0, without, 1)
        laws = [law, without if self.honest else law]
        return Draft((first, second), (-1, -1), laws).trimmed(budget)


class SiblingsAsIfReplaced(Siblings):
    honest = False


class ThreeRunner(ToyRunner):
    """p = [.5, .1, .4], whatever came before."""

    def logits(self, path: Sequence[tuple[int, int]]) -> torch.Tensor:
        law = torch.zeros(32)
        law[:3] = torch.tensor([0.5, 0.1, 0.4])
        return law.log()


def check_siblings(drafter: type[Siblings]) -> None:
    suite = Suite(ThreeRunner, lambda: drafter(2))
    params = SamplingParams(top_k=3, max_tokens=4, ignore_eos=True)
    suite.check_law("standard", "three", params, 6_000)
    suite.settle()


def test_siblings_drawn_without_replacement_pass() -> None:
    check_siblings(Siblings)


def test_siblings_as_if_replaced_are_caught() -> None:
    with pytest.raises(ConformanceError, match="do not follow the target's law"):
        check_siblings(SiblingsAsIfReplaced)


def test_noise_keyed_by_position_is_caught_under_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second round meets the first one's noise again (TV 0.05 over three tokens)."""

    def chance(self: RoundDraws, node: int) -> float:
        return uniform(self.seed, Purpose.ACCEPT, self.start + node)

    def drawn(
        self: DraftNoise, request: Request, index: int, law: torch.Tensor, sibling: int = 0
    ) -> int:
        if self.coupled:
            return sampler.draw_coupled(law, request.seed, request.num_tokens + index)
        return draw(law, uniform(request.seed, Purpose.DRAFT, request.num_tokens + index))

    monkeypatch.setattr(RoundDraws, "chance", chance)
    monkeypatch.setattr(DraftNoise, "draw", drawn)
    with pytest.raises(ConformanceError, match="block"):
        check_coins("block", 10_000)


class ThreeProposer(CoinProposer):
    """q = [.2, .6, .2], whatever came before."""

    def draft(self, request: Request, budget: int, noise: DraftNoise) -> Draft:
        law = torch.zeros(32)
        law[:3] = torch.tensor([0.2, 0.6, 0.2])
        tokens = tuple(noise.draw(request, i, law) for i in range(budget))
        return Draft(tokens, probs=[law] * budget)


def test_a_number_that_rejects_and_recovers_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The token after a rejection must not know how near it was."""
    monkeypatch.setattr(RoundDraws, "recovery", RoundDraws.chance)
    suite = Suite(ThreeRunner, lambda: ThreeProposer(2))
    params = SamplingParams(top_k=3, max_tokens=4, ignore_eos=True)
    suite.check_law("standard", "three", params, 6_000)
    with pytest.raises(ConformanceError, match="do not follow the target's law"):
        suite.settle()


def test_a_coupled_draw_from_outside_the_filter_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The race must be run on the filtered law that plain decoding samples."""
    add = RoundBatch.add

    def faulty(
        self: RoundBatch, request: Request, draft: Draft, row: int, way: Way, *rest: Any
    ) -> None:
        if way == Way.RACE and len(draft):
            request = copy(request)
            request.params = replace(request.params, top_k=0, top_p=1.0, min_p=0.0)
        add(self, request, draft, row, way, *rest)

    monkeypatch.setattr(RoundBatch, "add", faulty)
    with pytest.raises(ConformanceError, match="coupled"):
        check_proposer(ToyProposer, accuracy=0.7)
