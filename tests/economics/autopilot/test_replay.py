"""Traffic again, and what policies make of it."""

import numpy as np
import pytest

from fairdraft.economics.autopilot.draft_potential import TracedText
from fairdraft.economics.autopilot.policies import Static
from fairdraft.economics.autopilot.replay import replay
from fairdraft.errors import ConfigError
from tests.economics.conftest import linear


@pytest.mark.parametrize("k", [1, 2, 3, 8])
def test_static_drafts_of_the_traced_length_replay_the_trace(k):
    rng = np.random.default_rng(k)
    rounds = [(k, int(rng.integers(0, k + 1))) for _ in range(200)]
    text = TracedText.of_rounds("a", 10, rounds)
    profile = linear()
    done = replay([text], Static(k), profile, "ngram", 1)
    # The first token comes with the prompt, and the last token of a text needs no draft.
    assert done.tokens == len(text)
    assert abs(done.steps - len(rounds)) <= 2


def test_off_takes_a_step_a_token_and_costs_what_the_profile_says():
    texts = [TracedText.of_rounds(str(i), 10, [(4, 1)] * 10) for i in range(4)]
    done = replay(texts, Static(0), linear(), "ngram", 4)
    assert done.steps == 20
    assert done.seconds == pytest.approx(19.0)  # the first step only reads prompts, unpriced here
    assert done.switches == 0
    assert not any(done.drafting)


def test_the_clock_stops_when_fewer_are_left_than_run_at_once():
    long, short = (
        TracedText.of_rounds("a", 10, [(0, 0)] * 50),
        TracedText.of_rounds("b", 10, [(0, 0)] * 5),
    )
    assert replay([long, short], Static(0), linear(), "ngram", 2).steps == 5
    with pytest.raises(ConfigError, match="2 texts, fewer than 3 at once"):
        replay([long, short], Static(0), linear(), "ngram", 3)


def test_what_was_not_measured_is_refused():
    texts = [TracedText.of_rounds(str(i), 10, [(4, 2)] * 20) for i in range(5)]
    with pytest.raises(ConfigError, match="requests = 5 was not measured"):
        replay(texts, Static(2), linear(), "ngram", 5)
    replay(texts, Static(2), linear(), "ngram", 5, extrapolate=True)
