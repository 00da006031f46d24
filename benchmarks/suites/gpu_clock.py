"""How the GPU suite takes times: CUDA events where there are some, the wall clock elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from time import monotonic, perf_counter
from typing import Any

import torch


class Deadline:
    """A moment after which nothing new is begun.

    Args:
        seconds: from now on.
    """

    def __init__(self, seconds: float) -> None:
        self._end = monotonic() + seconds

    @property
    def passed(self) -> bool:
        """Whether it is over."""
        return monotonic() > self._end


def wait_for(device: torch.device) -> None:
    """Wait until a device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def milliseconds(job: Callable[[], Any], device: torch.device, rounds: int) -> float:
    """Return the median milliseconds of a job, after two rounds unmeasured.

    Between CUDA events lies what the host does too, where the device waits for it.
    """
    samples = []
    for number in range(rounds + 2):
        wait_for(device)
        if device.type == "cuda":
            first, last = _event(), _event()
            first.record()
            job()
            last.record()
            last.synchronize()
            taken = float(first.elapsed_time(last))
        else:
            start = perf_counter()
            job()
            taken = (perf_counter() - start) * 1e3
        if number >= 2:
            samples.append(taken)
    return median(samples)


def _event() -> Any:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]


def copied_bytes_per_second(device: torch.device, count: int) -> float:
    """Return how many bytes a second a device reads and writes while it copies `count` bytes."""
    source = torch.zeros(count, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * count / (milliseconds(lambda: target.copy_(source), device, 10) / 1e3)
