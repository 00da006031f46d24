"""Draft lengths by the number of requests that decode."""

import pytest

from fairdraft.config import SpeculativeConfig
from fairdraft.engine.draft_lengths import LengthsByBatchSize
from fairdraft.errors import ConfigError

LENGTHS = [[1, 4, 3], [5, 16, 1], [17, 64, 0]]


@pytest.mark.parametrize(
    ("count", "length"), [(1, 3), (4, 3), (5, 1), (16, 1), (17, 0), (64, 0), (65, 0), (500, 0)]
)
def test_each_load_has_its_length(count, length):
    config = SpeculativeConfig("ngram", 4, num_speculative_tokens_per_batch_size=LENGTHS)
    found = LengthsByBatchSize(config.lengths_per_batch_size).draft_lengths([None] * count)
    assert found == [length] * count


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "must be a list such as"),
        ("1,4,3", "must be a list such as"),
        ([[1, 4]], r"entry \[1, 4\]"),
        ([[2, 4, 3]], "goes on with batch sizes 2 to 4 where 1 comes next"),
        ([[1, 4, 3], [6, 8, 1]], "6 to 8 where 5 comes next"),
        ([[1, 4, 3], [5, 4, 1]], "5 to 4 where 5 comes next"),
        ([[1, 4, 9]], "asks for 9 tokens, above num_speculative_tokens = 4"),
        ([[1, 4, -1]], "is -1, but must be a whole number"),
    ],
)
def test_what_leaves_a_load_without_a_length_is_refused(given, message):
    with pytest.raises(ConfigError, match=message):
        SpeculativeConfig("ngram", 4, num_speculative_tokens_per_batch_size=given)


def test_auto_may_draft_further_by_default():
    assert SpeculativeConfig("auto").num_speculative_tokens == 8
    assert SpeculativeConfig("ngram").num_speculative_tokens == 4
