"""A fleet of a seed: its cause, its engine, and what is printed of it with speculation and without.

The generator is frozen: a test holds the hash of what a seed prints, so that what a diagnosis is
measured on cannot follow the diagnosis.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from benchmarks.fleets.causes import CAUSES, HEALTHY, draw_fleet
from benchmarks.fleets.noise import Noise
from benchmarks.fleets.physics import Fleet, Server
from benchmarks.fleets.printing import PRINTERS

MOST = 20  # windows of a run
NOT_THERE = {("llama.cpp log", "preemption")}  # its slots keep their share of the cache


@dataclass(frozen=True)
class Printed:
    """A fleet as two runs of it were printed.

    Args:
        seed: of everything.
        cause: what is wrong with it: one of `CAUSES`, or `HEALTHY`.
        engine: a key of `PRINTERS`.
        windows: of the run with speculation.
        on, off: one text a run, or two pages.
        fleet: what was simulated.
    """

    seed: int
    cause: str
    engine: str
    windows: int
    on: tuple[str, ...]
    off: tuple[str, ...]
    fleet: Fleet

    def save(self, folder: Path) -> tuple[str, str]:
        """Write the texts, and return how `fairdraft.peers.read` is asked for either run."""
        folder.mkdir(parents=True, exist_ok=True)
        found = []
        for name, texts in (("on", self.on), ("off", self.off)):
            paths = [folder / f"{self.seed}-{name}-{i}.log" for i in range(len(texts))]
            for path, text in zip(paths, texts, strict=True):
                path.write_text(text, "utf-8")
            found.append(",".join(map(str, paths)))
        return found[0], found[1]

    @property
    def digest(self) -> str:
        """The SHA-256 of all that is printed."""
        return hashlib.sha256("\0".join((*self.on, *self.off)).encode()).hexdigest()


def draw(seed: int, *, healthy: bool = False) -> Printed:
    """Draw the fleet of a seed: causes and engines take turns, everything else is drawn.

    Args:
        seed: from 0.
        healthy: whether nothing is wrong with it.
    """
    engines = list(PRINTERS)
    cause = HEALTHY if healthy else CAUSES[seed % len(CAUSES)]
    engine = engines[seed // len(CAUSES) % len(engines)]
    if (engine, cause) in NOT_THERE:
        engine = engines[seed // (len(CAUSES) * len(engines)) % 3]
    fleet = draw_fleet(cause, 7919 * seed + 17)
    noise = Noise(104729 * seed + 29)
    windows, plain = noise.whole(1, MOST), noise.whole(1, MOST)
    on, off = (
        PRINTERS[engine](Server(fleet, speculates, noise), count, noise)
        for speculates, count in ((True, windows), (False, plain))
    )
    return Printed(seed, cause, engine, windows, on, off, fleet)
