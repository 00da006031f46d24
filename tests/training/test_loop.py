"""Stopped anywhere and run again, training ends the same; a full disk loses nothing."""

from __future__ import annotations

import errno
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from fairdraft.errors import TrainingError
from fairdraft.heads import Losses, Sample
from fairdraft.training import loop
from fairdraft.training.loop import CHECKPOINT, LOG, Schedule, batches, train
from fairdraft.training.storage import write_whole

SCHEDULE = Schedule(epochs=3, batch_tokens=40, save_every=3, measure_every=4)


class KilledError(Exception):
    pass


@pytest.fixture
def shards(tmp_path: Path) -> list[Path]:
    torch.manual_seed(0)
    lengths = [5 + 3 * i for i in range(8)]
    path = tmp_path / "states-0000.safetensors"
    tensors = {
        "token_ids": torch.randint(0, 9, (sum(lengths),)),
        "lengths": torch.tensor(lengths),
        "prompt_lengths": torch.tensor([2] * 8),
        "states": torch.randn(sum(lengths), 6),
        "final": torch.randn(sum(lengths), 2),
    }
    save_file(tensors, path)
    return [path]


def run(
    shards: list[Path], folder: Path, kill_at: int | None = None, schedule: Schedule = SCHEDULE
) -> tuple[list[dict[str, Any]], nn.Linear]:
    torch.manual_seed(1)
    head = nn.Linear(6, 2)
    steps = 0

    def loss(samples: list[Sample], step: int) -> Losses:
        nonlocal steps
        if steps == kill_at:
            raise KilledError
        steps += 1
        x = torch.cat([sample.states for sample in samples])
        y = torch.cat([sample.final for sample in samples])
        total = (head(x) - y).pow(2).mean()
        return Losses(total, [float(total.detach())])

    log = train(head, shards, loss, schedule, folder, lambda: {"weight": head.weight[0, 0].item()})
    return log, head


@pytest.mark.parametrize("kill_at", [0, 2, 3, 7, 11])
def test_killed_and_run_again_it_ends_the_same(
    kill_at: int, shards: list[Path], tmp_path: Path
) -> None:
    log, head = run(shards, tmp_path / "whole")
    with pytest.raises(KilledError):
        run(shards, tmp_path / "torn", kill_at)
    again, resumed = run(shards, tmp_path / "torn")
    assert again == log
    assert torch.equal(resumed.weight, head.weight)
    logs = [(tmp_path / name / LOG).read_text() for name in ("whole", "torn")]
    assert logs[0] == logs[1]
    assert "measured" in log[-1]


def test_other_options_are_refused_instead_of_mixed(shards: list[Path], tmp_path: Path) -> None:
    run(shards, tmp_path / "x")
    other = Schedule(epochs=4, batch_tokens=40, save_every=3, measure_every=4)
    with pytest.raises(TrainingError, match="was begun with"):
        run(shards, tmp_path / "x", schedule=other)


def test_every_sample_once_an_epoch_within_the_budget() -> None:
    lengths = [3 + 7 * i % 40 for i in range(50)]
    schedule = Schedule(batch_tokens=100)
    for epoch in range(2):
        found = batches(lengths, schedule, epoch)
        assert sorted(i for batch in found for i in batch) == list(range(50))
        assert all(len(b) * max(lengths[i] for i in b) <= 100 or len(b) == 1 for b in found)
    assert batches(lengths, schedule, 0) == batches(lengths, schedule, 0)
    assert batches(lengths, schedule, 0) != batches(lengths, schedule, 1)


def full_disk(write: Callable[[Path], None], path: Path) -> None:
    write(path)
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_keeps_the_last_checkpoint(
    shards: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "x"
    with pytest.raises(KilledError):
        run(shards, folder, kill_at=5)
    before = (folder / CHECKPOINT).read_bytes()
    monkeypatch.setattr(
        loop,
        "write_whole",
        lambda path, write: write_whole(path, partial(full_disk, write)),
    )
    with pytest.raises(TrainingError, match=r"the disk is full\): make room"):
        run(shards, folder)
    assert (folder / CHECKPOINT).read_bytes() == before
    assert not list(folder.glob(".*partial"))
    monkeypatch.undo()
    log, _ = run(shards, folder)
    assert log == run(shards, tmp_path / "whole")[0]
