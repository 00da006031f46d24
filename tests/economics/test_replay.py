"""Traffic again: what a trace says of shorter drafts, and what policies make of it."""

import json

import numpy as np
import pytest

from fairdraft.economics.policies import Auto, Oracle, Static
from fairdraft.economics.prices import Prices
from fairdraft.economics.profile import Profile
from fairdraft.economics.replay import replay
from fairdraft.economics.surface import CostSurface, Point
from fairdraft.economics.traced import Text, read_trace
from fairdraft.errors import ConfigError, ReadingError

K = 8


def linear(per_row=0.05, draft=1e-6):
    """A machine whose steps take 1 + per_row · (rows − requests)."""
    step = [
        Point(b, n, 4096, (1 + per_row * b * (n - 1),)) for b in (1, 4) for n in range(1, K + 2)
    ]
    drafts = [Point(b, n, 4096, (draft * n,)) for b in (1, 4) for n in range(1, K + 1)]
    surface = CostSurface(step)
    return Profile("toy", "float32", {}, surface, surface, {"ngram": CostSurface(drafts)})


def prices(profile):
    return Prices(profile.step, {}, K)


def test_a_trace_tells_what_every_place_would_have_had():
    text = Text.of_rounds("a", 10, [(0, 0), (4, 2), (4, 4), (4, 0)])
    # places:  0: nothing; 1 to 3: two of four stand, then a wrong guess; 4 to 8: all four stand,
    # and the bonus token was not foreseen, for the next round's first token fell.
    assert text.stood.tolist() == [0, 2, 1, 0, 4, 3, 2, 1, 0, 0]
    assert text.found.tolist() == [0, 4, 3, 2, 4, 3, 2, 1, 0, 4]


def test_a_phrase_that_goes_on_was_foreseen_across_the_bonus_token():
    text = Text.of_rounds("a", 10, [(4, 4), (4, 3), (0, 0)])
    assert text.stood.tolist() == [4, 4, 4, 4, 4, 3, 2, 1, 0, 0]


@pytest.mark.parametrize("k", [1, 2, 3, 8])
def test_static_drafts_of_the_traced_length_replay_the_trace(k):
    rng = np.random.default_rng(k)
    rounds = [(k, int(rng.integers(0, k + 1))) for _ in range(200)]
    text = Text.of_rounds("a", 10, rounds)
    profile = linear()
    done = replay([text], Static(k), profile, "ngram", 1)
    # The first token comes with the prompt, and the last token of a text needs no draft.
    assert done.tokens == len(text)
    assert abs(done.steps - len(rounds)) <= 2


def test_off_takes_a_step_a_token_and_costs_what_the_profile_says():
    texts = [Text.of_rounds(str(i), 10, [(4, 1)] * 10) for i in range(4)]
    done = replay(texts, Static(0), linear(), "ngram", 4)
    assert done.steps == 20
    assert done.seconds == pytest.approx(19.0)  # the first step only reads prompts, unpriced here
    assert done.switches == 0
    assert not any(done.drafting)


def test_the_clock_stops_when_fewer_are_left_than_run_at_once():
    long, short = Text.of_rounds("a", 10, [(0, 0)] * 50), Text.of_rounds("b", 10, [(0, 0)] * 5)
    assert replay([long, short], Static(0), linear(), "ngram", 2).steps == 5
    with pytest.raises(ConfigError, match="2 texts, fewer than 3 at once"):
        replay([long, short], Static(0), linear(), "ngram", 3)


def traffic(kind, count, stands, length=120, seed=0):
    rng = np.random.default_rng(seed)
    made = []
    for i in range(count):
        rounds, written = [], 0
        while written < length:
            accepted = int(min(rng.geometric(1 - stands) - 1, K)) if stands else 0
            rounds.append((K, accepted))
            written += accepted + 1
        made.append(Text.of_rounds(f"{kind}{i}", 64, rounds, kind))
    return made


@pytest.mark.parametrize("lookup", [True, False])
def test_auto_is_near_the_best_static_k_wherever_that_lies(lookup):
    profile = linear(per_row=0.12)
    for stands in (0.0, 0.3, 0.9):
        texts = traffic("t", 24, stands, seed=3)
        rates = [replay(texts, Static(k), profile, "ngram", 4).rate for k in (0, 1, 2, 4, 8)]
        drafters = {} if lookup else profile.drafters
        auto = Auto(Prices(profile.step, drafters, K), "ngram", lookup, K)
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
    auto = Auto(prices(profile), "ngram", True, K)
    done = replay(texts, auto, profile, "ngram", 4)
    assert done.rate > max(rates)
    assert done.switches > 0


def test_nothing_beats_the_oracle():
    profile = linear(per_row=0.1)
    texts = traffic("t", 16, 0.6)
    best = replay(texts, Oracle(prices(profile), None, K), profile, "ngram", 4).rate
    for k in (0, 1, 2, 4, 8):
        assert replay(texts, Static(k), profile, "ngram", 4).rate <= best * 1.01
    auto = Auto(prices(profile), "ngram", True, K)
    assert replay(texts, auto, profile, "ngram", 4).rate <= best * 1.01


def test_what_was_not_measured_is_refused():
    texts = traffic("t", 5, 0.5)
    with pytest.raises(ConfigError, match="requests = 5 was not measured"):
        replay(texts, Static(2), linear(), "ngram", 5)
    replay(texts, Static(2), linear(), "ngram", 5, extrapolate=True)


def step(**entry):
    return json.dumps({"step": 0, "times": {}, "requests": [entry]})


def test_a_trace_is_read_round_by_round():
    prompt = step(request_id="a", num_computed_tokens=0, num_new_tokens=5)
    first = step(
        request_id="a",
        num_computed_tokens=5,
        num_new_tokens=2,
        draft_token_ids=[],
        num_accepted=0,
        token_ids=[1],
    )
    later = step(
        request_id="a",
        num_computed_tokens=7,
        num_new_tokens=3,
        draft_token_ids=[4, 5],
        num_accepted=1,
        token_ids=[4, 9],
    )
    (text,) = read_trace([prompt, first, "", later], "t", "code")
    assert (text.name, text.context, text.kind) == ("t a", 7, "code")
    assert text.stood.tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["nonsense"], "line 1 of 't' is no step of a trace"),
        (['{"requests": [{"num_accepted": 1}]}'], "line 1 of 't' is no step"),
        (['{"requests": []}'], "nothing decodes in 't'"),
        (
            [
                step(
                    request_id="a",
                    num_computed_tokens=1,
                    num_new_tokens=1,
                    draft_token_ids=[1, 2],
                    parents=[-1, -1],
                    num_accepted=1,
                )
            ],
            "'t' has trees",
        ),
    ],
)
def test_what_is_no_trace_is_told(lines, message):
    with pytest.raises(ReadingError, match=message):
        read_trace(lines, "t")
