"""The chooser drafts what pays, tries again what did not, and pays little for trying."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import numpy as np
import pytest

from fairdraft.economics.autopilot.best_lengths import BestLengths
from fairdraft.economics.autopilot.decision import Decision, Offer
from fairdraft.economics.costs.cost_surface import CostSurface, Point
from fairdraft.economics.costs.live_costs import LiveCosts

PLAIN, FIXED, K = 0.01, 0.05, 4
CONTEXT = 100.0


def costs(growth: float = 0.1, c: float = 0.1) -> LiveCosts:
    """A step costs `growth` of itself more for one more row of each request; `c` a draft token."""
    grid = list(itertools.product((1, 4), (1, K + 1), (0, 1024)))
    step = CostSurface(Point(b, n, x, (PLAIN * (1 + growth * (n - 1)),)) for b, n, x in grid)
    head = CostSurface(
        Point(b, k, x, (PLAIN * (FIXED + c * k),))
        for b, k, x in itertools.product((1, 4), (1, K), (0, 1024))
    )
    return LiveCosts(step, {"head": head}, K)


def asking(chooser: BestLengths, names: list[str]) -> Decision:
    offers = [{"head": Offer(K)}] * len(names)
    return chooser.decide(names, [{}] * len(names), offers, CONTEXT)


def train(chooser: BestLengths, method: str, name: str, rate: float, count: int = 300) -> None:
    draw = np.random.default_rng(1)
    for _ in range(count):
        stood = int(np.cumprod(draw.random(K) < rate).sum())
        chooser.beliefs[method].record(name, None, K, stood)


@dataclass
class World:
    """Steps of a chooser whose drafter is right at a rate of our choosing; its own clock."""

    chooser: BestLengths
    draw: np.random.Generator = field(default_factory=lambda: np.random.default_rng(3))
    seconds: float = 0.0  # of all steps
    plain: float = 0.0  # what they would have taken without drafts
    tokens: int = 0
    plain_tokens: int = 0
    drafted: list[bool] = field(default_factory=list)

    def run(self, steps: int, rate: float, count: int = 2) -> None:
        for number in range(steps):
            names = [f"{len(self.drafted) // 500}-{i}" for i in range(count)]
            made = asking(self.chooser, names)
            total = self.chooser.costs.steps(count, CONTEXT)
            drafting = self.chooser.costs.drafts("head", count, CONTEXT)
            asked = [n for n, m in zip(made.lengths, made.methods, strict=True) if m]
            assert sum(made.lengths) == sum(asked)
            self.plain += float(total[0])
            self.plain_tokens += count
            self.tokens += count
            self.seconds += float(total[sum(asked)] + drafting[len(asked), max(asked, default=0)])
            self.drafted.append(bool(asked))
            for name, length in zip(names, made.lengths, strict=True):
                if length:
                    stood = int(np.cumprod(self.draw.random(length) < rate).sum())
                    self.tokens += stood
                    self.chooser.beliefs["head"].record(name, None, length, stood)
            if number % 500 == 499:
                for name in names:
                    self.chooser.forget(name)

    def lost(self) -> float:
        """Share of the plain rate that is lost, what stood of drafts counted; begins anew."""
        found = 1 - self.tokens / self.seconds * self.plain / self.plain_tokens
        self.seconds = self.plain = 0.0
        self.tokens = self.plain_tokens = 0
        return found


@pytest.fixture
def chooser() -> BestLengths:
    return BestLengths(costs(), (), ("head",), K)


def test_it_drafts_where_it_pays(chooser: BestLengths) -> None:
    train(chooser, "head", "a", 0.9)
    made = asking(chooser, ["a", "b"])
    assert made.methods == ["head", "head"]
    assert min(made.lengths) >= 3


def test_it_drafts_nothing_where_survivals_are_below_the_cost(chooser: BestLengths) -> None:
    train(chooser, "head", "a", 0.1)
    made = asking(chooser, ["a", "b"])
    assert made == Decision([None, None], [0, 0])


def test_dearer_drafts_are_shorter() -> None:
    lengths = []
    for growth in (0.02, 0.2, 0.35, 0.9):
        dear = BestLengths(costs(growth, 0.02), (), ("head",), K)
        train(dear, "head", "a", 0.7)
        lengths.append(asking(dear, ["new"]).lengths[0])
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[0] == K
    assert lengths[-1] == 0


def test_no_longer_than_offered(chooser: BestLengths) -> None:
    train(chooser, "head", "a", 0.9)
    offers = [{"head": Offer(n)} for n in (1, 0, 3)]
    made = chooser.decide(["a", "b", "c"], [{}] * 3, offers, CONTEXT)
    assert made.lengths[0] == 1
    assert (made.methods[1], made.lengths[1]) == (None, 0)
    assert made.lengths[2] <= 3


def test_a_new_request_starts_from_the_workload() -> None:
    chooser = BestLengths(costs(growth=0.5), (), ("head",), K)
    for _ in range(40):
        train(chooser, "head", "good", 0.8, 10)
        chooser.beliefs["head"].record("bad", None, K, 0)
    made = asking(chooser, ["bad", "new"])
    assert made.methods == [None, "head"]
    chooser.forget("bad")
    assert asking(chooser, ["bad", "new"]).methods == ["head", "head"]


def test_reading_up_on_the_text_is_weighed(chooser: BestLengths) -> None:
    train(chooser, "head", "a", 0.7)

    def length(behind: float) -> int:
        late = {"head": behind}
        return chooser.decide(["n"], [{}], [{"head": Offer(K)}], CONTEXT, late).lengths[0]

    assert length(0.0) > 0
    assert length(PLAIN) > 0  # it is read once, for many steps
    assert length(1000 * PLAIN) == 0


# --- exploration


def test_trying_a_drafter_that_never_pays_costs_less_than_a_percent(chooser: BestLengths) -> None:
    world = World(chooser)
    world.run(1_000, rate=0.05)
    assert world.lost() < 0.03  # that it does not pay was learnt meanwhile
    world.run(5_000, rate=0.05)
    assert any(world.drafted[-1_000:])  # it goes on trying
    assert 0 < world.lost() < 0.01


def test_reading_up_counts_as_trying(chooser: BestLengths) -> None:
    """Where a draft needs the text read first, it is tried less often."""
    tries = []
    for behind in (0.0, PLAIN):
        train(chooser, "head", "a", 0.05)
        taken = []
        for _ in range(2_000):
            late = {"head": behind}
            made = chooser.decide(["a"], [{}], [{"head": Offer(K)}], CONTEXT, late)
            taken.append(made.lengths[0] > 0)
            if made.lengths[0]:
                chooser.beliefs["head"].record("a", None, made.lengths[0], 0)
        tries.append(sum(taken))
    assert 3 < tries[1] < 2_000 * 0.01  # each costs more than a plain step
    assert tries[0] > 2 * tries[1]


def test_a_drafter_that_begins_to_pay_is_found_again(chooser: BestLengths) -> None:
    world = World(chooser)
    world.run(2_000, rate=0.05)
    assert sum(world.drafted[-500:]) < 25
    world.run(4_000, rate=0.95)
    assert sum(world.drafted[-500:]) > 450


def test_trying_goes_round(chooser: BestLengths) -> None:
    """Each request has its turn, and the same drafter does not starve another."""
    both = costs()
    both.drafters["other"] = both.drafters["head"]
    chooser = BestLengths(both, (), ("head", "other"), K)
    for method in ("head", "other"):
        train(chooser, method, "a", 0.02)
        chooser.forget("a")
    names = [f"{i}" for i in range(4)]
    tried = set()
    for _ in range(3_000):
        offers = [{"head": Offer(K), "other": Offer(K)}] * 4
        made = chooser.decide(names, [{}] * 4, offers, CONTEXT)
        for name, method, length in zip(names, made.methods, made.lengths, strict=True):
            if length:
                tried.add((name, method))
                chooser.beliefs[method or ""].record(name, None, length, 0)
    assert {name for name, _ in tried} == set(names)
    assert {method for _, method in tried} == {"head", "other"}


# --- lookups


def looking(c: float = 0.1) -> BestLengths:
    """Two lookups that cost 3% of a step together, and a drafter that fails."""
    found = BestLengths(costs(c=c), ("ngram", "suffix"), ("head",), K)
    train(found, "head", "a", 0.02)
    for method in ("ngram", "suffix"):
        found.costs.learn_draft(method, 1, 1, CONTEXT, 0.015 * PLAIN)
    return found


def test_the_better_lookup_is_taken_and_the_drafter_asked_for_the_rest() -> None:
    chooser = looking(c=0.01)
    train(chooser, "head", "a", 0.8)
    train(chooser, "ngram", "a", 0.5)
    train(chooser, "suffix", "a", 0.95)
    found = [
        {"ngram": Offer(4), "suffix": Offer(4)},
        {"ngram": Offer(4), "suffix": Offer(0)},
        {},
        {"ngram": Offer(4), "suffix": Offer(1)},
    ]
    offers = [{"head": Offer(2)}] * 4
    made = chooser.decide(["n1", "n2", "n3", "n4"], found, offers, CONTEXT)
    assert made.methods[0] == "suffix"
    assert made.methods[2] == "head"
    assert made.lengths[0] == 4
    # Two tokens of a good drafter are worth more than four of a bad lookup.
    assert made.methods[1] == "head"


def test_lookups_pay_for_themselves_or_pause_and_resume() -> None:
    """With nothing to show for 3% of a step, one step in ten is looked at."""
    chooser = looking()

    def steps(count: int, offer: Offer | None) -> int:
        looked = 0
        for _ in range(count):
            wanted = chooser.wants_lookup(1, CONTEXT)
            looked += wanted
            found = [{"suffix": offer}] if wanted and offer else [{}]
            chooser.decide(["a"], found, [{}], CONTEXT, looked=wanted)
            if found[0]:
                chooser.beliefs["suffix"].record("a", None, K, K)
        return looked

    assert steps(5, None) == 5  # the first ones are made
    steps(100, None)
    assert 19 <= steps(200, None) <= 21
    steps(200, Offer(K))
    assert steps(200, Offer(K)) == 200
    steps(300, None)
    assert 19 <= steps(200, None) <= 21


def test_free_lookups_are_always_made() -> None:
    chooser = BestLengths(costs(), ("ngram",), (), K)
    assert all(chooser.wants_lookup(1, CONTEXT) for _ in range(50))
    assert not BestLengths(costs(), (), ("head",), K).wants_lookup(1, CONTEXT)


def test_what_paused_lookups_did_not_bring_is_not_held_against_them() -> None:
    chooser = looking()
    before = chooser._backoff.credit
    chooser.decide(["a"], [{}], [{}], CONTEXT, looked=False)
    assert chooser._backoff.credit == before


def test_it_rests_while_nothing_pays_and_wakes_for_others() -> None:
    """To find out that nothing pays takes 2% of a step: one decision in twenty is made."""
    chooser = BestLengths(costs(), ("suffix",), ("head",), K)
    for _ in range(40):
        chooser.beliefs["head"].record("a", None, K, 0)

    def decisions(names: list[str], count: int, found: Offer | None = None) -> int:
        made = 0
        for _ in range(count):
            if chooser.rests(names):
                continue
            made += 1
            looked = chooser.wants_lookup(len(names), CONTEXT)
            offers = [{"suffix": found} if found and looked else {} for _ in names]
            decision = chooser.decide(names, offers, [{} for _ in names], CONTEXT, looked=looked)
            if not any(decision.lengths):
                chooser.learn_deciding(0.02 * PLAIN)
            elif found:
                chooser.beliefs["suffix"].record(names[0], None, K, K)
        return made

    decisions(["a"], 300)
    assert 9 <= decisions(["a"], 200) <= 11
    assert decisions(["a", "b"], 1) == 1
    decisions(["a", "b"], 40)
    decisions(["a", "b"], 100, Offer(K))
    assert decisions(["a", "b"], 100, Offer(K)) == 100
