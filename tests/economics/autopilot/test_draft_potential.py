"""What a trace says of drafts from every place, and of shorter ones."""

import json

import pytest

from fairdraft.economics.autopilot.draft_potential import TracedText, read_trace
from fairdraft.errors import ReadingError


def test_a_trace_tells_what_every_place_would_have_had():
    text = TracedText.of_rounds("a", 10, [(0, 0), (4, 2), (4, 4), (4, 0)])
    # places:  0: nothing; 1 to 3: two of four stand, then a wrong guess; 4 to 8: all four stand,
    # and the bonus token was not foreseen, for the next round's first token fell.
    assert text.stood.tolist() == [0, 2, 1, 0, 4, 3, 2, 1, 0, 0]
    assert text.found.tolist() == [0, 4, 3, 2, 4, 3, 2, 1, 0, 4]


def test_a_phrase_that_goes_on_was_foreseen_across_the_bonus_token():
    text = TracedText.of_rounds("a", 10, [(4, 4), (4, 3), (0, 0)])
    assert text.stood.tolist() == [4, 4, 4, 4, 4, 3, 2, 1, 0, 0]


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
