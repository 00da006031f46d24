"""Which tokens a drafter can say."""

from __future__ import annotations

from fairdraft.training.answers import AnsweredPrompt, frequent_tokens


def test_frequent_tokens_come_first_and_others_fill_up() -> None:
    texts = [AnsweredPrompt((9, 9, 9), (5, 5, 7)), AnsweredPrompt((9,), (5, 7, 3))]
    assert frequent_tokens(texts, 2, 10).tolist() == [5, 7]
    assert frequent_tokens(texts, 5, 10).tolist() == [0, 1, 3, 5, 7]
