"""What lab 01 must do. Read from the top: the first part builds it, the second one ends it."""

from __future__ import annotations

import pytest

LAWS = ["periodic", "mixed", "random"]
PROMPT = [*range(12), *range(12)]


def test_ngram_copies_what_followed_the_match(lab):
    assert lab.propose_ngram([1, 2, 3, 4, 9, 2, 3], k=2) == [4, 9]


def test_ngram_prefers_the_longest_match(lab):
    # The last three tokens lead to 7, the last one alone to 8.
    assert lab.propose_ngram([1, 2, 3, 7, 3, 8, 1, 2, 3], k=1) == [7]


def test_ngram_takes_the_latest_of_equal_matches(lab):
    assert lab.propose_ngram([5, 6, 5, 7, 5], k=1, n_max=1) == [7]


def test_ngram_does_not_match_the_end_with_itself(lab):
    assert lab.propose_ngram([1, 2, 3, 4], k=3) == []


def test_ngram_matches_may_overlap_the_end_and_begin_the_text(lab):
    assert lab.propose_ngram([4, 4, 4], k=3, n_max=2, n_min=2) == [4]
    assert lab.propose_ngram([1, 2, 3, 1, 2], k=1, n_max=2, n_min=2) == [3]


def test_ngram_drafts_at_most_k_and_needs_n_min(lab):
    text = [1, 2, 3, 4, 5, 6, 1, 2]
    assert lab.propose_ngram(text, k=3) == [3, 4, 5]
    assert lab.propose_ngram(text, k=0) == []
    assert lab.propose_ngram(text, k=3, n_max=4, n_min=3) == []


def test_verify_keeps_the_leading_run_and_corrects(lab):
    assert lab.verify_greedy([7, 8, 9], [7, 8, 1, 2]) == (2, 1)


def test_verify_gives_a_bonus_token_when_all_stand(lab):
    assert lab.verify_greedy([7, 8, 9], [7, 8, 9, 4]) == (3, 4)


def test_verify_ignores_what_agrees_behind_a_mismatch(lab):
    # Row 2 answered a text that will never be: it had the wrong token 5 in it.
    assert lab.verify_greedy([5, 8, 9], [7, 8, 9, 4]) == (0, 7)


def test_verify_of_no_draft_is_plain_decoding(lab):
    assert lab.verify_greedy([], [3]) == (0, 3)


def test_the_capital_of_france(lab):
    """The guide's trace: " Paris" and "." stand, " The" does not; three tokens from one run."""
    assert lab.verify_greedy([" Paris", ".", " The"], [" Paris", ".", " It", "?"]) == (2, " It")


@pytest.mark.parametrize("k", [0, 1, 2, 4, 9])
@pytest.mark.parametrize("law", LAWS)
def test_text_is_the_baselines(lab, law, k):
    """Speculation changes how often the target runs, never what it says.

    The random law hashes the whole text: one token out of place and everything behind it differs.
    """
    expected = lab.generate(lab.ToyTarget(lab.LAWS[law]), PROMPT, 100)
    result = lab.speculate(lab.ToyTarget(lab.LAWS[law]), PROMPT, 100, k=k)
    assert result.token_ids == expected


@pytest.mark.parametrize("law", LAWS)
def test_context_evolves(lab, law):
    """Draft and verify from the text as it stands, the newest token included.

    Leave the token after the accepted ones out of the next lookup, or ask one row too few, and
    texts or acceptance change here. A one-token prompt has no room for a slip.
    """
    expected = lab.generate(lab.ToyTarget(lab.LAWS[law]), [3], 60)
    result = lab.speculate(lab.ToyTarget(lab.LAWS[law]), [3], 60, k=5)
    assert result.token_ids == expected


@pytest.mark.parametrize("law", LAWS)
def test_each_run_gives_at_least_one_token(lab, law):
    target = lab.ToyTarget(lab.LAWS[law])
    result = lab.speculate(target, PROMPT, 100, k=4)
    assert result.num_runs == target.num_runs <= 100
    again = lab.speculate(target, PROMPT, 100, k=4)
    assert again.num_runs == result.num_runs  # a target that was run before counts on
    assert result.tokens_per_run >= 1
    assert result.num_accepted <= result.num_drafted


def test_counters_count_what_was_drafted_and_what_was_accepted(lab):
    """A draft may be shorter than k, and at the end of the text it is."""
    target = lab.ToyTarget(lab.LAWS["periodic"])
    result = lab.speculate(target, PROMPT, 100, k=4)
    assert (result.num_runs, result.num_drafted, result.num_accepted) == (20, 80, 80)
    target = lab.ToyTarget(lab.LAWS["mixed"])
    result = lab.speculate(target, PROMPT, 100, k=4)
    assert result.num_accepted == 100 - result.num_runs  # the other tokens came one a run
    assert result.num_accepted < result.num_drafted < 4 * result.num_runs


def test_match_lengths_are_passed_on(lab):
    target = lab.ToyTarget(lab.LAWS["periodic"])
    result = lab.speculate(target, PROMPT[:12], 40, k=4, n_max=20, n_min=20)
    assert result.num_runs > 12  # no end of 20 tokens occurs earlier in the first 20


@pytest.mark.parametrize("max_tokens", [1, 2, 7, 100])
def test_exactly_max_tokens_are_written(lab, max_tokens):
    result = lab.speculate(lab.ToyTarget(lab.LAWS["periodic"]), PROMPT, max_tokens, k=4)
    assert len(result.token_ids) == max_tokens


def test_tokens_per_run_by_kind_of_text(lab):
    """On text that repeats, all k drafts stand; on random text, hardly any."""
    rates = {}
    for name in LAWS:
        target = lab.ToyTarget(lab.LAWS[name])
        rates[name] = lab.speculate(target, PROMPT, 200, k=4).tokens_per_run
    assert rates["periodic"] == 5  # k drafts and the bonus token, every run
    assert 1 <= rates["random"] < 1.1
    assert rates["random"] < rates["mixed"] < rates["periodic"]


# The second part: what was given, and nothing else, is counted.


@pytest.mark.parametrize("eos", range(12))
def test_text_ends_with_eos_as_the_baseline_does(lab, eos):
    assert lab.until_end([1, 2], None) == [1, 2]  # if it is still to do, it says so here
    plain = lab.generate(lab.ToyTarget(lab.LAWS["periodic"]), PROMPT, 40)
    expected = plain[: plain.index(eos) + 1]
    result = lab.speculate(lab.ToyTarget(lab.LAWS["periodic"]), PROMPT, 40, k=4, eos=eos)
    assert result.token_ids == expected
    assert result.num_accepted == len(expected) - len(expected) // 5  # all but each fifth token
