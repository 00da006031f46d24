"""Medusa's heads each draft at their own distance, and no further."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from torch import Tensor

from fairdraft.errors import ConfigError, ProposerError
from fairdraft.heads.medusa import MedusaHead
from fairdraft.proposers.heads import MedusaProposer
from tests.heads.cases import BY_NAME, run_checked

Tiny = Callable[[str], Path]
CASE = BY_NAME["medusa"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    CASE.write(tmp_path, tmp_path)
    return tmp_path


def test_heads_shifted_by_one_are_caught(
    monkeypatch: pytest.MonkeyPatch, tiny: Tiny, folder: Path
) -> None:
    """Each token is taken from the head behind its own."""
    forward = MedusaHead.forward

    def faulty(self: MedusaHead, hidden: Tensor) -> list[Tensor]:
        states = forward(self, hidden)
        return [*states[1:], states[0]]

    monkeypatch.setattr(MedusaHead, "forward", faulty)
    with pytest.raises(ProposerError, match="not what a plain computation says"):
        run_checked(CASE, tiny("llama"), folder)


def test_drafts_longer_than_there_are_heads_are_refused(tiny: Tiny, folder: Path) -> None:
    runner = CASE.target(tiny("llama"), folder)
    with pytest.raises(ConfigError, match="is 5, but the file has 4 heads"):
        MedusaProposer(5, str(folder)).bind(runner)
    with pytest.raises(ConfigError, match="draft_tree_depth is 6, but the file has 4 heads"):
        MedusaProposer(9, str(folder), draft_tree_top_k=2, draft_tree_depth=6).bind(runner)
