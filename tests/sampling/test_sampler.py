"""The inverse transform gives every token its share, and rows say what plain decoding says."""

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fairdraft import SamplingParams
from fairdraft.draft import Draft
from fairdraft.errors import RequestError
from fairdraft.request import Request
from fairdraft.sampling.noise import Purpose, bits, race
from fairdraft.sampling.sampler import DraftNoise, TargetRows, draw, draw_coupled

untimed = settings(deadline=None)
JUST_BELOW_ONE = math.nextafter(1, 0)
weights = st.lists(st.integers(0, 6), min_size=1, max_size=8).filter(any)


def rows_of(
    logits: torch.Tensor, drafted: tuple[int, ...] = (), seed: int = 0, **params: Any
) -> TargetRows:
    request = Request("r", (3, 1), SamplingParams(max_tokens=None, **params), seed)
    return TargetRows(request, Draft(drafted), logits, logits.argmax(-1).tolist())


# --- draw


@untimed
@given(weights)
def test_every_token_gets_exactly_its_share(shares: list[int]) -> None:
    total = sum(shares)
    law = torch.tensor(shares, dtype=torch.float32)
    counts = Counter(draw(law, (cell + 0.5) / total) for cell in range(total))
    assert counts == Counter({t: share for t, share in enumerate(shares) if share})


@untimed
@given(shares=weights, scale=st.sampled_from([2.0**-140, 2.0**-20, 1.0, 2.0**60]))
def test_a_law_need_not_be_normalised(shares: list[int], scale: float) -> None:
    law = torch.tensor(shares, dtype=torch.float32)
    for cell in range(16):
        assert draw(law * scale, (cell + 0.5) / 16) == draw(law, (cell + 0.5) / 16)


def test_shares_lie_by_token_id_and_are_closed_below() -> None:
    law = torch.tensor([0.25, 0.0, 0.5, 0.25])
    for u, token in [(0.0, 0), (0.2499, 0), (0.25, 2), (0.7499, 2), (0.75, 3), (0.9999, 3)]:
        assert draw(law, u) == token


@untimed
@given(
    law=st.lists(
        st.just(0.0) | st.floats(2.0**-126, 1, width=32) | st.sampled_from([1e-45, 1e-30, 1.0]),
        min_size=1,
        max_size=9,
    ).filter(any),
    u=st.sampled_from([0.0, 5e-324, 2.0**-53, 0.5, JUST_BELOW_ONE])
    | st.floats(0, 1, exclude_max=True),
)
def test_an_impossible_token_is_never_drawn(law: list[float], u: float) -> None:
    row = torch.tensor(law)
    assert row[draw(row, u)] > 0


@pytest.mark.parametrize("size", [10, 50_000])
def test_both_ends_of_a_wide_law(size: int) -> None:
    law = torch.zeros(size)
    law[3], law[size - 4] = 1.0, 1e-7
    assert draw(law, 0.0) == 3
    assert draw(law, JUST_BELOW_ONE) == size - 4


def test_a_wide_flat_law_is_not_skewed_by_rounding() -> None:
    size = 100_000
    law = torch.full((size,), 1 / size)
    for cell in range(0, size, 997):
        assert draw(law, (cell + 0.5) / size) == cell


# --- rows


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("size", "peaks"), [(6, (2, 4)), (50_000, (31_007, 31_008, 49_999))])
def test_greedy_takes_the_first_of_equals(
    dtype: torch.dtype, size: int, peaks: tuple[int, ...]
) -> None:
    logits = torch.zeros(1, size, dtype=dtype)
    logits[0, list(peaks)] = 1.5
    assert rows_of(logits, temperature=0).token(0) == peaks[0]
    # And so it is behind a filter, which takes another way through the code.
    assert rows_of(logits, temperature=0, presence_penalty=0.5).token(0) == peaks[0]
    assert rows_of(logits, temperature=0, logit_bias={peaks[0]: -1.0}).token(0) == peaks[1]


def test_greedy_rows_see_the_drafts_before_them() -> None:
    logits = torch.tensor([[0.0, 2.0, 1.5, 1.0]] * 4)
    rows = rows_of(logits, (1, 2, 1), temperature=0, presence_penalty=0.75)
    assert [rows.token(i) for i in range(4)] == [1, 2, 1, 1]
    rows = rows_of(logits, (1, 2, 1), temperature=0, frequency_penalty=0.75)
    assert [rows.token(i) for i in range(4)] == [1, 2, 1, 3]


PARAMS: list[dict[str, Any]] = [
    {},
    {"temperature": 0},
    {"temperature": 0.7, "top_k": 3},
    {"top_p": 0.8, "repetition_penalty": 1.4},
    {"min_p": 0.1, "frequency_penalty": 0.5, "logit_bias": {2: 1.0}},
]


@untimed
@given(
    scores=st.lists(st.lists(st.integers(-4, 4), min_size=5, max_size=5), min_size=1, max_size=5),
    drafted=st.lists(st.integers(0, 4), min_size=4, max_size=4),
    params=st.sampled_from(PARAMS),
    seed=st.integers(0, 1000),
)
def test_a_row_says_what_plain_decoding_would_say_there(
    scores: list[list[int]], drafted: list[int], params: dict[str, Any], seed: int
) -> None:
    logits = torch.tensor(scores).float()
    draft = tuple(drafted[: len(scores) - 1])
    verified = rows_of(logits, draft, seed, **params)
    for i in range(len(scores)):
        plain = rows_of(logits[i : i + 1], (), seed, **params)
        plain.request.token_ids.extend(draft[:i])
        assert verified.token(i) == plain.token(0)
        assert verified.token(i) == verified.token(i)


def test_tokens_follow_the_filtered_law() -> None:
    logits = torch.tensor([[0.0, 1.0, 2.0, -1.0, 0.5]])
    expected = rows_of(logits, top_k=4, temperature=0.8)[0].double()
    counts = Counter(rows_of(logits, (), s, top_k=4, temperature=0.8).token(0) for s in range(3000))
    assert counts[3] == 0
    seen = [t for t in range(5) if t != 3]
    result = stats.chisquare([counts[t] for t in seen], [3000 * float(expected[t]) for t in seen])
    assert result.pvalue > 1e-6


def test_positions_draw_apart() -> None:
    """The same law at every row; a draw per request would say the same token each time."""
    logits = torch.zeros(40, 1000)
    rows = rows_of(logits, tuple(range(39)))
    assert len({rows.token(i) for i in range(40)}) > 30


# --- the Gumbel draw


def test_a_race_has_its_law_whatever_the_scale() -> None:
    law = torch.tensor([0.5, 0.0, 0.3, 0.15, 0.05])
    counts = [Counter(draw_coupled(law * scale, 4, i) for i in range(20_000)) for scale in (1, 7)]
    assert counts[0] == counts[1]
    expected = [20_000 * share for share in (0.5, 0.3, 0.15, 0.05)]
    assert stats.chisquare([counts[0][t] for t in (0, 2, 3, 4)], expected).pvalue > 0.01
    assert counts[0][1] == 0


def test_a_race_is_won_by_the_largest_of_log_law_plus_gumbel() -> None:
    """The shortcut around most logarithms changes no winner."""
    rng = np.random.default_rng(0)
    for i in range(300):
        law = rng.dirichlet(np.full(500, 0.1)).astype(np.float32)
        noise = np.array(
            [-math.log(-math.log(_splitmix(bits(9, Purpose.COUPLED, i), t))) for t in range(500)]
        )
        with np.errstate(divide="ignore"):
            assert race(law, bits(9, Purpose.COUPLED, i)) == (np.log(law) + noise).argmax()


def _splitmix(key: int, token: int) -> float:
    """SplitMix64's (token + 1)-th number from `key`, as a uniform in (0, 1)."""
    mask = 2**64 - 1
    z = (key + (token + 1) * 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    z ^= z >> 31
    return ((z >> 11) + 0.5) * 2.0**-53


def test_a_race_stays_within_the_support() -> None:
    law = torch.zeros(1000)
    law[[3, 700]] = torch.tensor([1e-30, 1e-38])
    assert {draw_coupled(law, 0, i) for i in range(200)} == {3}
    with pytest.raises(RequestError, match="forbid all"):
        draw_coupled(torch.zeros(10), 0, 0)


def test_drafter_and_target_meet_in_one_race() -> None:
    """Under coupling equal laws draw equal tokens; otherwise their noise is apart."""
    law = torch.rand(50, generator=torch.Generator().manual_seed(0))
    agree = {True: 0, False: 0}
    for seed in range(200):
        request = Request("r", (3, 1), SamplingParams(temperature=1.0), seed)
        for coupled in agree:
            target = TargetRows(request, Draft((0,)), law.log()[None].repeat(2, 1), [], coupled)
            drafted = DraftNoise(coupled).draw(request, 1, law)
            agree[coupled] += drafted == target.token(1)
    assert agree[True] == 200
    assert agree[False] < 40
