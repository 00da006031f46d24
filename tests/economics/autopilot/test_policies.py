"""The autopilot on traffic that is easy, hard, or both, beside fixed lengths and the oracle."""

import numpy as np
import pytest

from fairdraft.economics.autopilot.draft_potential import TracedText
from fairdraft.economics.autopilot.policies import Auto, Oracle, Static
from fairdraft.economics.autopilot.replay import replay
from fairdraft.economics.costs.live_costs import LiveCosts
from tests.economics.conftest import K, linear


def costs(profile):
    return LiveCosts(profile.step, {}, K)


def traffic(kind, count, stands, length=120, seed=0):
    rng = np.random.default_rng(seed)
    made = []
    for i in range(count):
        rounds, written = [], 0
        while written < length:
            accepted = int(min(rng.geometric(1 - stands) - 1, K)) if stands else 0
            rounds.append((K, accepted))
            written += accepted + 1
        made.append(TracedText.of_rounds(f"{kind}{i}", 64, rounds, kind))
    return made


@pytest.mark.parametrize("lookup", [True, False])
def test_auto_is_near_the_best_static_k_wherever_that_lies(lookup):
    profile = linear(per_row=0.12)
    for stands in (0.0, 0.3, 0.9):
        texts = traffic("t", 24, stands, seed=3)
        rates = [replay(texts, Static(k), profile, "ngram", 4).rate for k in (0, 1, 2, 4, 8)]
        drafters = {} if lookup else profile.drafters
        auto = Auto(LiveCosts(profile.step, drafters, K), "ngram", lookup, K)
        assert replay(texts, auto, profile, "ngram", 4).rate > 0.97 * max(rates)


def test_auto_beats_every_static_k_where_traffic_changes():
    profile = linear(per_row=0.12)
    texts = [
        text
        for i in range(3)
        for kind, stands in (("good", 0.95), ("bad", 0.0))
        for text in traffic(f"{kind}{i}", 12, stands, seed=i)
    ]
    rates = [replay(texts, Static(k), profile, "ngram", 4).rate for k in (0, 1, 2, 4, 8)]
    auto = Auto(costs(profile), "ngram", True, K)
    done = replay(texts, auto, profile, "ngram", 4)
    assert done.rate > max(rates)
    assert done.switches > 0


def test_nothing_beats_the_oracle():
    profile = linear(per_row=0.1)
    texts = traffic("t", 16, 0.6)
    best = replay(texts, Oracle(costs(profile), None, K), profile, "ngram", 4).rate
    for k in (0, 1, 2, 4, 8):
        assert replay(texts, Static(k), profile, "ngram", 4).rate <= best * 1.01
    auto = Auto(costs(profile), "ngram", True, K)
    assert replay(texts, auto, profile, "ngram", 4).rate <= best * 1.01
