"""Sections of a run on a rented machine: each in a time of its own, none lost with another."""

from __future__ import annotations

import json
import os
import signal
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch

Report = dict[str, Any]
TRACEBACK = 12  # lines that are kept of one


@dataclass
class Setting:
    """Where a section measures, and for how long.

    Args:
        device: torch's.
        tiny: whether models are tiny and random, to try the sections themselves.
        seconds: that the section may take; it leaves out what does not fit, and says so.
    """

    device: torch.device
    tiny: bool
    seconds: float

    def __post_init__(self) -> None:
        self._start = perf_counter()

    @property
    def left(self) -> float:
        """Seconds that the section still has."""
        return self.seconds - (perf_counter() - self._start)


Section = Callable[[Setting, Report], None]


def run_section(section: Section, setting: Setting) -> Report:
    """Return what a section found, also where it fails or takes half as long again as it may.

    Args:
        section: writes what it finds into the report it is given, as it goes.
        setting: for it.
    """
    found: Report = {}
    start = perf_counter()
    try:
        with _alarm(1.5 * setting.seconds + 1):
            section(setting, found)
    except Exception as error:  # whatever it is, the other sections are worth having
        found["error"] = f"{type(error).__name__}: {error}"[:600]
        found["traceback"] = traceback.format_exc().splitlines()[-TRACEBACK:]
    found["seconds"] = round(perf_counter() - start, 1)
    return found


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Raise `TimeoutError` in the block after so many seconds."""

    def ring(*_: object) -> None:
        raise TimeoutError(f"the section was stopped after {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def keep(path: Path, report: Mapping[str, Any]) -> None:
    """Write a report whole or not at all."""
    scratch = path.with_suffix(".partial")
    scratch.write_text(json.dumps(report, indent=1) + "\n")
    os.replace(scratch, path)


def synchronize(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def milliseconds(
    device: torch.device, work: Callable[[], object], rounds: int = 20, warm_up: int = 3
) -> float:
    """Return the median milliseconds of a piece of work, its launch included."""
    for _ in range(warm_up):
        work()
    samples = []
    for _ in range(rounds):
        synchronize(device)
        start = perf_counter()
        work()
        synchronize(device)
        samples.append((perf_counter() - start) * 1e3)
    return round(median(samples), 4)


def copy_rate(device: torch.device, size: int) -> float:
    """Return the bytes a second of a copy of `size` bytes on the device, read and written."""
    source = torch.randn(size // 4, device=device)
    target = torch.empty_like(source)
    return 2 * size / (milliseconds(device, lambda: target.copy_(source)) / 1e3)
