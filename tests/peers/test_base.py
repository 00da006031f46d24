"""A reading's figures follow from its counts, and counts that cannot be are refused."""

from __future__ import annotations

from typing import Any

import pytest

from fairdraft.errors import ReadingError
from fairdraft.peers import Reading
from fairdraft.peers.base import number, numbers, part


def test_steps_without_a_draft_count_in_tokens_per_step() -> None:
    """158 of 1062 steps had a draft: length 4 in rounds is 1.45 a step."""
    found = Reading("x", 158, 620, 474, tokens_per_second=100, requests=2, steps=1062)
    assert found.acceptance_length == 4
    assert found.tokens_per_step == pytest.approx(1 + 474 / 1062)
    assert found.draft_share == pytest.approx(158 / 1062)
    assert found.step_time == pytest.approx(2 * (1 + 474 / 1062) / 100)
    assert Reading("x", 158, 620, 474).tokens_per_step == 4
    assert Reading("x").tokens_per_step == 1


def test_survivals_take_each_position_s_own_rounds() -> None:
    counts: dict[str, Any] = {"rounds": 100, "drafted": 150, "accepted": 110}
    short = Reading("x", accepted_per_position=(80, 30), **counts)
    assert short.survivals == (0.8, 0.3)
    assert any("k varied (mean 1.5 of 2)" in note for note in short.biases)
    own = Reading("x", accepted_per_position=(80, 30), drafted_per_position=(100, 50), **counts)
    assert own.survivals == (0.8, 0.6)
    assert not own.biases


def test_what_biases_it_is_said() -> None:
    exact = Reading("x", 100, 200, 110, (80, 30))
    assert exact.biases == ()
    guessed = Reading("x", 100, 200, 110, (80, 30), exact_rounds=False, notes=("hm",))
    assert guessed.biases == ("hm", "rounds are worked out, not counted")


def test_k_is_stated_or_the_mean() -> None:
    assert Reading("x", 100, 150, 50).k == 1.5
    assert Reading("x", 100, 600, 50, stated_k=3).k == 3  # a tree of 6 nodes


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"rounds": 10, "drafted": 40, "accepted": 41}, "41 of 40 draft tokens were accepted"),
        ({"rounds": 10, "drafted": -40}, "-40"),
        ({"rounds": 50, "drafted": 40}, "50 rounds for 40 draft tokens"),
        ({"step_seconds": float("nan")}, "nan"),
        ({"requests": -1.0}, "-1.0"),
        ({"rounds": 9, "drafted": 9, "accepted_per_position": (10,)}, "all 9 rounds"),
    ],
)
def test_counts_that_cannot_be(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(ReadingError, match=says) as caught:
        Reading("the.log", **fields)
    assert "the.log" in str(caught.value)


@pytest.mark.parametrize("value", ["12", True, -1, float("inf"), float("nan"), [1], None])
def test_fields_that_are_no_numbers(value: object) -> None:
    with pytest.raises(ReadingError, match="drafts"):
        number({"drafts": value}, "drafts", "x.json")
    with pytest.raises(ReadingError, match="drafts"):
        numbers({"drafts": [1, value]}, "drafts", "x.json")


def test_fields_of_another_shape() -> None:
    with pytest.raises(ReadingError, match="must be a list"):
        numbers({"rates": "0.5"}, "rates", "x.json")
    with pytest.raises(ReadingError, match="must be a JSON object"):
        part({"times": 3}, "times", "x.json")
    assert numbers({}, "rates", "x.json") == ()


def test_prompts_are_a_share_of_what_was_computed() -> None:
    assert Reading("x", tokens_per_second=25, prompt_tokens_per_second=75).prompt_share == 0.75
    assert Reading("x", tokens_per_second=25).prompt_share is None
    assert Reading("x", tokens_per_second=0, prompt_tokens_per_second=0).prompt_share is None


def test_no_more_of_the_cache_is_used_than_there_is() -> None:
    with pytest.raises(ReadingError, match="uses 950% of the KV blocks"):
        Reading("x", kv_usage=9.5)
