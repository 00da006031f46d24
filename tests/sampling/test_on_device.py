"""Sampling for logits on another device: on CPU tensors, against the sampler that defines it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fairdraft import SamplingParams
from fairdraft.draft import EMPTY_DRAFT, Draft
from fairdraft.errors import RequestError
from fairdraft.request import Request
from fairdraft.sampling import device_kernels, kernels, noise
from fairdraft.sampling.filters import probabilities
from fairdraft.sampling.on_device import device_rows
from fairdraft.sampling.sampler import TargetRows

V = 40
untimed = settings(deadline=None)
# Halves tie often; the filters keep ties.
scores = st.lists(st.integers(-8, 8).map(lambda i: i / 2), min_size=V, max_size=V)
filters = st.fixed_dictionaries(
    {
        "min_p": st.sampled_from([0.0, 0.05, 1.0]),
        "top_k": st.sampled_from([0, 1, 3, V - 1, V]),
        "top_p": st.sampled_from([1.0, 0.95, 0.5, 1e-6]),
    }
)


@untimed
@given(rows=st.lists(st.tuples(scores, filters), min_size=1, max_size=4))
def test_filters_give_the_law_that_defines_them(rows: list[tuple[list[float], Any]]) -> None:
    logits = torch.tensor([row for row, _ in rows])
    values = [[params[name] for _, params in rows] for name in ("min_p", "top_k", "top_p")]
    min_p, top_p = torch.tensor(values[0]).double(), torch.tensor(values[2]).double()
    laws = torch.softmax(logits, -1)
    got = device_kernels.restrict(laws, min_p, torch.tensor(values[1]), top_p)
    for row, (_, params), own in zip(logits.numpy(), rows, got.numpy(), strict=True):
        law = probabilities(torch.from_numpy(row), SamplingParams(**params)).numpy()
        np.testing.assert_allclose(own, law, atol=1e-6)
        assert ((own > 0) == (law > 0)).all()


@untimed
@given(
    shares=st.lists(st.integers(0, 6), min_size=1, max_size=9),
    draws=st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=5),
)
def test_draws_are_the_same(shares: list[int], draws: list[float]) -> None:
    laws = torch.tensor(shares, dtype=torch.float32).repeat(len(draws), 1)
    got = device_kernels.pick(laws, torch.tensor(draws, dtype=torch.float64))
    assert got.tolist() == [int(kernels.pick(laws[0].numpy(), u)) for u in draws]


def test_a_draw_at_the_very_end_takes_a_token_that_is_there() -> None:
    law = torch.tensor([[0.1, 0.2, 0.3, 0.0, 0.0]])
    assert device_kernels.pick(law, torch.tensor([1.0], dtype=torch.float64)).item() == 2


@pytest.mark.parametrize("wrong", [[0.0, 0.0], [torch.nan, 1.0], [torch.inf, 1.0]])
def test_no_law_gives_no_token(wrong: list[float]) -> None:
    law = torch.tensor([wrong])
    assert device_kernels.pick(law, torch.tensor([0.5], dtype=torch.float64)).item() == -1


@untimed
@given(
    shares=st.lists(st.integers(0, 6), min_size=1, max_size=9),
    keys=st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=5),
)
def test_races_have_the_same_noise(shares: list[int], keys: list[int]) -> None:
    law = np.array(shares, np.float32)
    signed = [key - 2**64 if key >= 2**63 else key for key in keys]
    got = device_kernels.race(torch.from_numpy(law).repeat(len(keys), 1), torch.tensor(signed))
    assert got.tolist() == [noise.race(law, key) for key in keys]


PARAMS: list[dict[str, Any]] = [
    {"temperature": 0},
    {"temperature": 0, "repetition_penalty": 1.5, "presence_penalty": 0.5},
    {"temperature": 1.0},
    {"temperature": 0.7, "top_p": 0.9, "top_k": 12},
    {"temperature": 1.3, "min_p": 0.1, "frequency_penalty": 0.8, "logit_bias": {3: 5.0, 4: -9.0}},
    {"temperature": 1.0, "repetition_penalty": 0.8, "min_tokens": 30},
]


def entries() -> list[tuple[Request, Draft]]:
    drafts = [
        EMPTY_DRAFT,
        Draft((3, 4, 3)),
        Draft((5, 6, 7, 8), (-1, -1, 0, 1)),
        Draft((2,)),
        Draft((9, 9)),
        Draft((1, 2, 3, 4)),
    ]
    made = []
    for i, (params, draft) in enumerate(zip(PARAMS, drafts, strict=True)):
        request = Request(
            f"r{i}",
            (3, 1, 7),
            SamplingParams(max_tokens=None, **params),
            seed=i,
            eos_token_ids=frozenset({1}),
            bad_words_token_ids=((7, 5), (2,)) if i % 2 else (),
        )
        request.token_ids.extend([5, 5, 7])
        made.append((request, draft))
    return made


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("coupled", [False, True])
def test_a_step_says_what_plain_decoding_says(coupled: bool, dtype: torch.dtype) -> None:
    for seed in range(20):
        torch.manual_seed(seed)
        step = entries()
        logits = (torch.randn(sum(1 + len(draft) for _, draft in step), V) * 3).to(dtype)
        got = device_rows(step, logits, coupled)
        first = 0
        for (request, draft), rows in zip(step, got, strict=True):
            own = logits[first : first + 1 + len(draft)]
            first += len(own)
            expected = TargetRows(request, draft, own, own.argmax(-1).tolist(), coupled)
            assert len(rows) == len(own)
            for row in range(len(own)):
                assert rows.token(row) == expected.token(row)
                if not request.params.greedy:
                    torch.testing.assert_close(rows[row], expected[row], atol=1e-6, rtol=0)


@pytest.mark.parametrize("temperature", [0, 1])
def test_what_forbids_every_token_is_that_requests_own_error(temperature: float) -> None:
    free = Request("free", (1,), SamplingParams(temperature=temperature))
    bound = Request("bound", (1,), SamplingParams(temperature=temperature))
    bound.bad_words_token_ids = tuple((token,) for token in range(V))
    ok, none_left = device_rows(
        [(free, EMPTY_DRAFT), (bound, EMPTY_DRAFT)], torch.zeros(2, V), coupled=False
    )
    assert 0 <= ok.token(0) < V
    with pytest.raises(RequestError, match="no token can be sampled"):
        none_left.token(0)
