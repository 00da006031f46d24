"""What an engine is to be started with: who drafts, and how much at which load."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fairdraft.errors import ConfigError

NO_CHECKPOINT = ("ngram", "suffix", "mtp", "hybrid")  # methods without a checkpoint of their own


@dataclass(frozen=True)
class Drafting:
    """A method and its draft lengths.

    Args:
        method: who drafts, under the name that fairdraft and vLLM share.
        schedule: draft length k by number of requests side by side; 0 is off.
        static_k: the one draft length for engines that cannot change it with the load; 0 is off.
        drafter: the drafter's checkpoint, for methods that need one.
    """

    method: str
    schedule: Mapping[int, int]
    static_k: int
    drafter: str | None = None

    @property
    def needs_checkpoint(self) -> bool:
        """Whether the method runs a model of its own."""
        return self.method not in NO_CHECKPOINT

    @property
    def lacks_checkpoint(self) -> bool:
        """Whether the method runs a model of its own, and nobody said which."""
        return self.needs_checkpoint and self.drafter is None

    @property
    def longest(self) -> int:
        """The longest draft of the schedule; 0 is off at every load."""
        return max(self.schedule.values(), default=0)


def batch_schedule(choices: Mapping[int, int]) -> list[list[int]]:
    """Return [first, last, k] for every number of requests from 1 to the largest planned.

    A number between two planned ones takes the k of the nearer, halfway that of the smaller.
    Neighbours of equal k are one range. vLLM goes on with the last k beyond the last range.

    Args:
        choices: draft length by load.

    Raises:
        ConfigError: there is no load.
    """
    if not choices:
        raise ConfigError("there is no load to schedule: plan for at least one")
    loads = sorted(choices)
    ranges: list[list[int]] = []
    first = 1
    for load, following in zip(loads, [*loads[1:], None], strict=True):
        last = load if following is None else (load + following) // 2
        if ranges and ranges[-1][2] == choices[load]:
            ranges[-1][1] = last
        else:
            ranges.append([first, last, choices[load]])
        first = last + 1
    return ranges


def speculative_config(drafting: Drafting) -> dict[str, Any]:
    """Return the keys of a speculative configuration that vLLM and fairdraft share.

    Args:
        drafting: with at least one draft length above 0.
    """
    k = drafting.longest
    found: dict[str, Any] = {"method": drafting.method, "num_speculative_tokens": k}
    if drafting.needs_checkpoint:
        found["model"] = drafting.drafter
    if set(drafting.schedule.values()) != {k}:
        found["num_speculative_tokens_per_batch_size"] = batch_schedule(drafting.schedule)
    return found
