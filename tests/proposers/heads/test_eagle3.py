"""EAGLE-3 drafts what a plain computation says with all its flags; planted faults are caught."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from fairdraft import LLM
from fairdraft.engine import engine as engine_module
from fairdraft.errors import CheckpointError, ProposerError
from fairdraft.heads.eagle3 import Eagle3Head
from fairdraft.kv import KVManager
from fairdraft.proposers import Settled
from fairdraft.proposers.heads import Eagle3Proposer
from fairdraft.proposers.heads.recurrent import RecurrentDrafter
from tests.heads.cases import BY_NAME, acceptance_length, run_checked
from tests.heads.conftest import write_head

__all__ = ["write_head"]

Write = Callable[..., Path]
Tiny = Callable[[str], Path]
CASE = BY_NAME["eagle3"]


@pytest.mark.parametrize(
    "flags",
    [
        {"norm_before_residual": True},
        {"norm_before_fc": True},
        {"fc_norm": True, "norm_output": True},
    ],
)
def test_its_logits_are_those_of_a_plain_computation(
    flags: dict[str, bool], tiny: Tiny, write_head: Write
) -> None:
    assert run_checked(CASE, tiny("llama"), write_head(**flags)) > 60


# --- planted faults


def a_rejected_rows_hidden_states_fed_on(patch: pytest.MonkeyPatch) -> None:
    """Where a draft was rejected, the row after the last accepted one speaks."""
    rows = engine_module.settled

    def faulty(step: Any, verdicts: Any, kv: Any, batch: Any, output: Any, seconds: Any) -> Settled:
        found = rows(step, verdicts, kv, batch, output, seconds)
        hidden = {layer: state.clone() for layer, state in found.hidden.items()}
        for i, (entry, verdict) in enumerate(zip(step, verdicts, strict=True)):
            if verdict is not None and verdict.num_accepted < len(entry.draft):
                wrong = batch.cu_rows[i + 1] - len(entry.draft) + verdict.num_accepted
                for layer, state in hidden.items():
                    state[found.cu_rows[i + 1] - 1] = output.hidden[layer][wrong]
        return replace(found, hidden=hidden)

    patch.setattr(engine_module, "settled", faulty)


def a_prefix_hit_taken_whole(patch: pytest.MonkeyPatch) -> None:
    """The last block of a hit is kept, though another token follows it now."""
    init = KVManager.__init__

    def faulty(self: KVManager, num_blocks: int, size: int, caching: bool, _: bool = False) -> None:
        init(self, num_blocks, size, caching, False)

    patch.setattr(KVManager, "__init__", faulty)


def kv_of_rejected_drafts_kept(patch: pytest.MonkeyPatch) -> None:
    """Settled that stand do not write their KV anew where a draft row wrote before."""
    run = RecurrentDrafter._run

    def faulty(self: RecurrentDrafter, batch: Any, hidden: Tensor, states: Any) -> Any:
        storage = self.runtime.kv()
        written = self.__dict__.setdefault("written", {})
        kept = {s: storage.keys[0][s].clone() for s in batch.slots.tolist() if s in written}
        found = run(self, batch, hidden, states)
        for slot, keys in kept.items():
            storage.keys[0][slot] = keys
        if len(batch.logit_rows):
            written.update(dict.fromkeys(batch.slots.tolist()))
        return found

    patch.setattr(RecurrentDrafter, "_run", faulty)


@pytest.mark.parametrize(
    "plant",
    [
        a_rejected_rows_hidden_states_fed_on,
        a_prefix_hit_taken_whole,
        kv_of_rejected_drafts_kept,
    ],
)
def test_a_fault_is_caught(
    plant: Callable[[pytest.MonkeyPatch], None],
    monkeypatch: pytest.MonkeyPatch,
    tiny: Tiny,
    write_head: Write,
) -> None:
    plant(monkeypatch)
    with pytest.raises(ProposerError, match="not what a plain computation says"):
        run_checked(CASE, tiny("llama"), write_head())


def test_d2t_read_as_target_ids_is_caught(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A perfect head then drafts other tokens, or the file is refused for naming one twice."""
    monkeypatch.setattr(Eagle3Head, "target_ids", property(lambda self: self.d2t % len(self.d2t)))
    with pytest.raises((AssertionError, CheckpointError)):
        assert acceptance_length(CASE, 4, tmp_path) == 5


# --- refusals


def test_a_file_of_another_kind(write_head: Write) -> None:
    folder = write_head()
    path = folder / "config.json"
    path.write_text(
        path.read_text().replace(
            '"speculators_model_type": "eagle3"', '"speculators_model_type": "mtp"'
        )
    )
    with pytest.raises(CheckpointError, match="a file for method 'mtp'"):
        Eagle3Proposer(4, str(folder))


def test_it_is_told_before_the_target_is_loaded() -> None:
    with pytest.raises(CheckpointError, match="/nowhere/x"):
        LLM("demo", speculative_config={"method": "eagle3", "model": "/nowhere/x"})
