"""DFlash's blocks see the text and themselves, and leave nothing behind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fairdraft.errors import ConfigError, ProposerError
from fairdraft.proposers import Settled
from fairdraft.proposers.drafting import Underway
from fairdraft.proposers.heads import DFlashProposer
from fairdraft.proposers.heads.dflash import DFlashDrafter
from tests.heads.cases import BY_NAME, run_checked

Tiny = Callable[[str], Path]
CASE = BY_NAME["dflash"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    CASE.write(tmp_path, tmp_path)
    return tmp_path


# --- planted faults


def a_blocks_kv_not_cropped(patch: pytest.MonkeyPatch) -> None:
    """Where a block's rows once wrote their keys, those of the text do not replace them."""
    observe = DFlashDrafter.observe
    blocks = DFlashDrafter._blocks

    def noting(self: DFlashDrafter, underway: Sequence[Underway]) -> Any:
        batch = blocks(self, underway)
        self.__dict__.setdefault("written", set()).update(batch.slots.tolist())
        return batch

    def faulty(self: DFlashDrafter, rows: Settled) -> None:
        storage = self.runtime.kv()
        written = self.__dict__.get("written", set())
        kept = {s: storage.keys[0][s].clone() for s in rows.slots if s in written}
        observe(self, rows)
        for slot, keys in kept.items():
            storage.keys[0][slot] = keys

    patch.setattr(DFlashDrafter, "_blocks", noting)
    patch.setattr(DFlashDrafter, "observe", faulty)


def the_last_block_counts_as_text(patch: pytest.MonkeyPatch) -> None:
    """The cache is not cut back: rows see what earlier blocks left behind the text."""
    blocks = DFlashDrafter._blocks

    def faulty(self: DFlashDrafter, underway: Sequence[Underway]) -> Any:
        batch = blocks(self, underway)
        return replace(
            batch,
            context_lens=[n + 1 for n in batch.context_lens],
            block_tables=[[*table, 0] for table in batch.block_tables],  # room for what is too much
        )

    patch.setattr(DFlashDrafter, "_blocks", faulty)


def masks_that_see_only_backwards(patch: pytest.MonkeyPatch) -> None:
    """A causal block."""
    blocks = DFlashDrafter._blocks

    def faulty(self: DFlashDrafter, underway: Sequence[Underway]) -> Any:
        return replace(blocks(self, underway), ancestors={})

    patch.setattr(DFlashDrafter, "_blocks", faulty)


@pytest.mark.parametrize(
    "plant",
    [
        a_blocks_kv_not_cropped,
        the_last_block_counts_as_text,
        masks_that_see_only_backwards,
    ],
)
def test_a_fault_is_caught(
    plant: Callable[[pytest.MonkeyPatch], None],
    monkeypatch: pytest.MonkeyPatch,
    tiny: Tiny,
    folder: Path,
) -> None:
    plant(monkeypatch)
    with pytest.raises(ProposerError, match="not what a plain computation says"):
        run_checked(CASE, tiny("llama"), folder)


def test_drafts_longer_than_its_blocks_are_refused(tiny: Tiny, folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"is 5, but .* blocks of 5: lower it to 4"):
        DFlashProposer(5, str(folder)).bind(CASE.target(tiny("llama"), folder))
