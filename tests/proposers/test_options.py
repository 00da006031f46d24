"""The keys of drafting with a model: what is refused, and what drafts look like."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairdraft.errors import ConfigError
from fairdraft.proposers.options import DraftOptions, DraftShape


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"draft_sample_method": "soft"}, "'soft', but must be one of greedy, probabilistic"),
        ({"draft_sample_method": 1}, "draft_sample_method is 1"),
        ({"draft_confidence_threshold": 2}, "draft_confidence_threshold is 2"),
        ({"draft_confidence_threshold": "0.5"}, "draft_confidence_threshold is '0.5'"),
        ({"draft_tree_top_k": 0}, "draft_tree_top_k is 0"),
        ({"draft_tree_top_k": None}, "draft_tree_top_k is None"),
        ({"draft_tree_top_k": 2, "draft_tree_depth": 0}, "draft_tree_depth is 0"),
        ({"draft_tree_depth": 3}, "draft_tree_depth is 3, but without draft_tree_top_k"),
        ({"draft_tree_top_k": 1, "draft_tree_depth": 3}, "set draft_tree_top_k to at least 2"),
        ({"draft_tree_top_k": 2, "draft_sample_method": "probabilistic"}, "chosen, not drawn"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DraftOptions(**options)


@given(k=st.integers(1, 99))
def test_chains_are_as_long_as_asked(k: int) -> None:
    assert DraftOptions().shape(k) == DraftShape(k, width=1, depth=k)
    assert DraftOptions().shape(k).most_run == k - 1


@given(k=st.integers(1, 99), width=st.integers(2, 9), depth=st.none() | st.integers(1, 9))
def test_trees(k: int, width: int, depth: int | None) -> None:
    shape = DraftOptions(draft_tree_top_k=width, draft_tree_depth=depth).shape(k)
    assert shape.is_tree
    assert shape.depth == ((k + 1) // 2 if depth is None else depth)
    assert shape.most_run == width * (shape.depth - 1)
