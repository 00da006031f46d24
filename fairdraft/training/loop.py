"""The training loop: seeded order, checkpoints that resume to the bit, a log of every step."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress
from torch import nn

from fairdraft.config import require_int, require_number
from fairdraft.errors import TrainingError
from fairdraft.heads import Losses, Sample
from fairdraft.training.states import read_samples
from fairdraft.training.storage import write_whole, writing

CHECKPOINT = "checkpoint.pt"
LOG = "log.jsonl"


@dataclass(frozen=True)
class Schedule:
    """How long a head is trained, and how fast.

    Args:
        epochs: times over the data.
        batch_tokens: tokens of a step, padding included.
        learning_rate: the highest; a cosine takes it down to a tenth.
        warmup: share of the steps that lead up to it.
        seed: of the order of the samples.
        save_every: steps between checkpoints.
        measure_every: steps between measurements by real drafting; the last step is measured.
    """

    epochs: int = 4
    batch_tokens: int = 4096
    learning_rate: float = 5e-4
    warmup: float = 0.03
    seed: int = 0
    save_every: int = 50
    measure_every: int = 500

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_tokens", "save_every", "measure_every"):
            require_int(name, getattr(self, name), 1, "leave it out for the default")
        require_number("learning_rate", self.learning_rate, 0, 1, "5e-4 is usual")

    def rate(self, step: int, num_steps: int) -> float:
        """Return the learning rate of a step."""
        begin = max(self.warmup * num_steps, 1)
        if step < begin:
            return self.learning_rate * (step + 1) / begin
        part = (step - begin) / max(num_steps - begin, 1)
        return self.learning_rate * (0.1 + 0.45 * (1 + math.cos(math.pi * part)))


def batches(lengths: Sequence[int], schedule: Schedule, epoch: int) -> list[list[int]]:
    """Return the indices of each step's samples: like lengths together, in seeded order."""
    order = random.Random(f"{schedule.seed} {epoch}")
    noisy = sorted(range(len(lengths)), key=lambda i: lengths[i] + 24 * order.random())
    found: list[list[int]] = [[]]
    widest = 0
    for i in noisy:
        widest = max(widest, lengths[i])
        if found[-1] and (len(found[-1]) + 1) * widest > schedule.batch_tokens:
            found.append([])
            widest = lengths[i]
        found[-1].append(i)
    order.shuffle(found)
    return found


def train(
    head: nn.Module,
    shards: Sequence[Path],
    loss: Callable[[list[Sample], int], Losses],
    schedule: Schedule,
    folder: Path,
    measure: Callable[[], dict[str, Any]],
    made_of: str = "",
) -> list[dict[str, Any]]:
    """Train a head; goes on from the folder's checkpoint if there is one.

    Args:
        head: float32 weights, trained in place.
        shards: samples on disk.
        loss: of one batch; its second argument is the step.
        schedule: how long it is trained, and how fast.
        folder: for the checkpoint and the log.
        measure: acceptance by real drafting, for the log.
        made_of: says what is trained on what; a checkpoint of something else is refused.

    Returns:
        The log: per step its loss and agreement, now and then a measurement.

    Raises:
        TrainingError: a checkpoint of something else, one that cannot be written, or a loss that is
            no number.
    """
    samples = [sample for shard in shards for sample in read_samples(shard)]
    lengths = [len(sample.token_ids) for sample in samples]
    plan = [
        batch for epoch in range(schedule.epochs) for batch in batches(lengths, schedule, epoch)
    ]
    learning = [p for p in head.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=0.0, betas=(0.9, 0.95), weight_decay=0.01)
    identity = {"schedule": asdict(schedule), "made_of": made_of}
    first = _resume(head, optimizer, identity, folder)
    log = _kept_log(folder / LOG, first)
    with Progress(transient=True) as progress, (folder / LOG).open("a", encoding="utf-8") as file:
        task = progress.add_task("training", total=len(plan), completed=first)
        for step in range(first, len(plan)):
            for group in optimizer.param_groups:
                group["lr"] = schedule.rate(step, len(plan))
            losses = loss([samples[i] for i in plan[step]], step)
            if not torch.isfinite(losses.total):
                raise TrainingError(
                    f"the loss of step {step} is {float(losses.total.detach())}: lower the "
                    "learning rate; the last checkpoint is kept"
                )
            optimizer.zero_grad()
            losses.total.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(learning, 1.0)
            optimizer.step()
            entry: dict[str, Any] = {
                "step": step,
                "loss": float(losses.total.detach()),
                "agreement": [round(share, 4) for share in losses.agreement],
            }
            last = step + 1 == len(plan)
            if last or (step + 1) % schedule.measure_every == 0:
                entry["measured"] = measure()
            log.append(entry)
            with writing(folder / LOG):
                file.write(json.dumps(entry) + "\n")
                file.flush()
            if last or (step + 1) % schedule.save_every == 0:
                _save(head, optimizer, identity, step + 1, folder)
            progress.update(
                task,
                completed=step + 1,
                description=f"training, loss {entry['loss']:.3f}, "
                f"agreement {losses.agreement[0]:.0%}",
            )
    return log


def _save(
    head: nn.Module, optimizer: Any, identity: dict[str, Any], step: int, folder: Path
) -> None:
    state = {
        "head": head.state_dict(),
        "optimizer": optimizer.state_dict(),
        "step": step,
        **identity,
    }
    write_whole(folder / CHECKPOINT, partial(torch.save, state))


def _resume(head: nn.Module, optimizer: Any, identity: dict[str, Any], folder: Path) -> int:
    """Load a checkpoint, if there is one, and return how many steps it has done."""
    path = folder / CHECKPOINT
    folder.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    for name, value in identity.items():
        if state[name] != value:
            raise TrainingError(
                f"{str(path)!r} was begun with {name} {state[name]}, not {value}: use the same "
                "options and data to go on, or delete it to begin anew"
            )
    head.load_state_dict(state["head"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"])


def _kept_log(path: Path, steps: int) -> list[dict[str, Any]]:
    """Cut the log back to the checkpoint and return it; later steps are done again."""
    lines = path.read_text("utf-8").splitlines()[:steps] if path.exists() else []
    path.write_text("".join(line + "\n" for line in lines), "utf-8")
    return [json.loads(line) for line in lines]
