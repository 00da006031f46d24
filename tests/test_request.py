"""The counters of a request, and which token ends it and why."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairdraft import SamplingParams
from fairdraft.draft import Draft
from fairdraft.errors import RequestError
from fairdraft.request import Cut, Request

untimed = settings(deadline=None)
EOS, STOP, PLAIN = 2, 9, 5
FAR = 10**6


def request_of(prompt: Sequence[int] = (1, 3, 4), **params: Any) -> Request:
    return Request("r", tuple(prompt), SamplingParams(**params), eos_token_ids=frozenset({EOS}))


def end_of(request: Request, tokens: Sequence[int], max_model_len: int = FAR) -> int | None:
    """Take tokens until the request ends; how many that took."""
    cut = request.cut(tokens, max_model_len)
    assert request.finish_reason is None, "to look where it ends changes nothing"
    request.append(cut)
    return len(cut.token_ids) if request.finish_reason else None


# --- counters


@untimed
@given(
    prompt=st.lists(st.integers(0, 99), min_size=1, max_size=6),
    output=st.lists(st.integers(3, 8), max_size=6),
    draft=st.lists(st.integers(0, 99), max_size=4),
)
def test_counters_count_prompt_output_and_draft(
    prompt: list[int], output: list[int], draft: list[int]
) -> None:
    request = request_of(prompt, max_tokens=None)
    assert end_of(request, output) is None
    request.hold(Draft(tuple(draft)))
    assert request.token_ids == prompt + output
    assert request.output_token_ids == output
    assert request.num_prompt_tokens == len(prompt)
    assert request.num_output_tokens == len(output)
    assert request.num_tokens == len(prompt) + len(output)
    assert request.num_tokens_with_spec == len(prompt) + len(output) + len(draft)


def test_the_output_is_a_copy_and_the_prompt_is_never_written() -> None:
    prompt = (1, 3)
    request = Request("r", prompt, SamplingParams())
    request.append(Cut([PLAIN]))
    request.output_token_ids.append(77)
    assert request.output_token_ids == [PLAIN]
    assert request.prompt_token_ids == (1, 3)


@pytest.mark.parametrize(("computed", "decoding"), [(0, False), (1, False), (2, True), (3, True)])
def test_decoding_starts_when_only_the_newest_token_waits(computed: int, decoding: bool) -> None:
    request = request_of((1, 3, 4))
    request.advance(computed)
    assert request.decoding is decoding


def test_two_requests_share_nothing() -> None:
    one, other = request_of(), request_of()
    one.append(Cut([PLAIN]))
    one.block_table.append(0)
    one.counters.record(1, 1, 2)
    assert other.num_output_tokens == 0
    assert other.block_table == []
    assert other.counters.num_steps == 0
    assert one != other


# --- ends


def test_eos_ends_without_a_stop_reason() -> None:
    request = request_of()
    assert end_of(request, [PLAIN, EOS]) == 2
    assert (request.finish_reason, request.stop_reason) == ("stop", None)
    assert request.output_token_ids == [PLAIN, EOS]


def test_a_stop_token_ends_and_is_named() -> None:
    request = request_of(stop_token_ids=[STOP])
    assert end_of(request, [PLAIN, STOP]) == 2
    assert (request.finish_reason, request.stop_reason) == ("stop", STOP)


def test_a_running_request_has_no_reason() -> None:
    request = request_of()
    assert end_of(request, [PLAIN, STOP, 1]) is None  # 1 stands in the prompt, STOP is not asked
    assert request.finish_reason is None


def test_ignored_eos_does_not_end() -> None:
    request = request_of(ignore_eos=True, max_tokens=4)
    assert end_of(request, [EOS] * 9) == 4
    assert (request.finish_reason, request.stop_reason) == ("length", None)


def test_ignored_eos_leaves_stop_tokens_alone() -> None:
    assert end_of(request_of(ignore_eos=True, stop_token_ids=[STOP]), [EOS, STOP]) == 2


def test_eos_that_is_ignored_but_asked_for_as_a_stop_token_is_named() -> None:
    request = request_of(ignore_eos=True, stop_token_ids=[EOS])
    assert end_of(request, [EOS]) == 1
    assert (request.finish_reason, request.stop_reason) == ("stop", EOS)


@pytest.mark.parametrize("end", [EOS, STOP])
@pytest.mark.parametrize("least", [0, 1, 2, 3])
def test_no_end_before_min_tokens(end: int, least: int) -> None:
    request = request_of(min_tokens=least, stop_token_ids=[STOP])
    assert end_of(request, [end] * 9) == max(least, 1)
    assert request.finish_reason == "stop"


def test_max_tokens() -> None:
    request = request_of(max_tokens=3)
    assert end_of(request, [PLAIN] * 9) == 3
    assert (request.finish_reason, request.stop_reason) == ("length", None)


def test_an_end_at_the_limit_is_a_stop() -> None:
    request = request_of(max_tokens=2)
    assert end_of(request, [PLAIN, EOS]) == 2
    assert request.finish_reason == "stop"


def test_max_model_len_counts_the_prompt() -> None:
    request = request_of((1, 3, 4), max_tokens=None)
    assert end_of(request, [PLAIN] * 9, max_model_len=5) == 2
    assert request.finish_reason == "length"


def test_the_nearer_of_two_limits_holds() -> None:
    assert end_of(request_of((1, 3, 4), max_tokens=4), [PLAIN] * 9, max_model_len=5) == 2
    assert end_of(request_of((1, 3, 4), max_tokens=1), [PLAIN] * 9, max_model_len=5) == 1


# --- the counters move through methods only


def test_a_cut_inside_an_accepted_stretch_leaves_no_computed_token_behind_the_end() -> None:
    request = request_of((1, 3), max_tokens=9)
    request.hold(Draft((7, 8, 9)))
    request.advance(5)  # the prompt and the draft
    request.reject(0)
    request.append(request.cut([7, EOS, 9, 4], FAR))
    assert request.output_token_ids == [7, EOS]
    assert request.num_computed_tokens == request.num_tokens == 4
    assert request.draft == Draft()


def test_rejected_tokens_are_taken_back_off() -> None:
    request = request_of((1, 3))
    request.hold(Draft((7, 8, 9)))
    request.advance(5)
    request.reject(2)
    request.append(Cut([7, 6]))
    assert request.num_computed_tokens == request.num_tokens - 1
    assert request.decoding


def test_a_reset_request_begins_anew_with_its_tokens() -> None:
    request = request_of((1, 3))
    request.append(Cut([PLAIN]))
    request.advance(3)
    request.hold(Draft((7,)))
    request.reset()
    assert (request.num_computed_tokens, request.draft, request.block_table) == (0, Draft(), [])
    assert request.token_ids == [1, 3, PLAIN]


def test_an_error_is_kept_with_its_reason() -> None:
    request = request_of()
    error = RequestError("no token can be sampled")
    request.end("error", error)
    assert (request.finish_reason, request.error) == ("error", error)
