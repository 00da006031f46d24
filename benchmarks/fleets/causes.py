"""Fleets with one thing wrong: a healthy one is drawn, and one cause is planted in it.

A fault is as strong as is needed for speculation to lose: its strength is drawn, tried on the
physics' own means, and drawn anew until the fault makes the fleet slower than off, and most of what
is lost is the fault's. Nothing here knows how a diagnosis judges.
"""

from __future__ import annotations

import dataclasses
import math

from benchmarks.fleets.noise import Noise
from benchmarks.fleets.physics import Fleet, Server

CAUSES = (
    "step cost",
    "drafter mismatch",
    "workload",
    "position-1 collapse",
    "saturation",
    "drafting cost",
    "preemption",
)
HEALTHY = "nothing"  # a fleet that pays: no cause is there to be found
PAYS = 1.15  # speedup of a healthy fleet at least
LOSES = 0.93  # and of one with a fault at most
TRIAL = 3000  # of requests' steps that are run to learn what a fleet gives
ATTEMPTS = 400


def healthy(noise: Noise) -> Fleet:
    """Draw a server with room to spare, a drafter that fits, and traffic that suits it."""
    kind = noise.whole(0, 2)
    if kind == 0:  # a processor
        plain, knee, streams = noise.log_uniform(0.03, 0.12), noise.log_uniform(10, 24), 1
    elif kind == 1:  # a small card
        plain, knee, streams = noise.log_uniform(0.015, 0.05), noise.log_uniform(60, 160), None
    else:  # a large one
        plain, knee, streams = noise.log_uniform(0.015, 0.06), noise.log_uniform(200, 500), None
    k = noise.whole(1, 5) if kind else noise.whole(1, 4)
    most = 0.5 * knee / (k + 1)
    found = Fleet(
        weights=0.9 * plain,
        host=0.1 * plain,
        knee=knee,
        kv=noise.log_uniform(1e-6, 8e-6),
        k=k,
        jitter=noise.uniform(0.01, 0.06),
        drift=noise.uniform(0.005, 0.03),
        spread=noise.uniform(0.2, 0.7),
        streams=streams or max(1, int(noise.log_uniform(1, most))),
        prompt=int(noise.log_uniform(60, 800)),
        output=int(noise.log_uniform(100, 500)),
        swing=noise.uniform(0.0, 0.3),
    )
    found.budget = 2048 if kind else 256
    rates = [noise.uniform(0.62, 0.85)]
    for _ in range(k - 1):
        rates.append(min(0.92, max(0.6, rates[0] + noise.uniform(-0.08, 0.1))))
    found.rates = rates
    if noise.chance(0.35):
        lookup(found, noise)
    else:
        found.draft = noise.uniform(0.0, 0.05)
        found.draft_token = noise.uniform(0.01, 0.06)
    return found


def lookup(fleet: Fleet, noise: Noise) -> None:
    """Let the fleet draft by looking up what repeats: next to free, and not in every step."""
    fleet.share = noise.uniform(0.6, 0.9)
    fleet.stay = noise.uniform(fleet.share, 0.95)
    fleet.draft, fleet.draft_token = noise.uniform(0.002, 0.01), 0.0
    fleet.tax = noise.uniform(0.01, 0.05)


def plant(cause: str, fleet: Fleet, noise: Noise) -> Fleet:
    """Return the fleet with a cause planted in it, however strong it came out."""
    found = dataclasses.replace(fleet, rates=list(fleet.rates))
    if cause == "step cost":
        found.slow = noise.log_uniform(0.2, 2.0)
        found.slow_token = noise.log_uniform(0.05, 1.5)
    elif cause == "drafting cost":
        found.share, found.tax = 1.0, 0.0  # a model drafts
        found.draft, found.draft_token = noise.uniform(0.0, 0.3), noise.log_uniform(0.15, 1.5)
    elif cause == "drafter mismatch":
        first = noise.log_uniform(0.01, 0.25)
        found.rates = [first, *(first * noise.uniform(0.6, 1.5) for _ in fleet.rates[1:])]
    elif cause == "position-1 collapse":
        found.rates[0] = noise.log_uniform(0.01, 0.2)
    elif cause == "workload":
        lookup(found, noise)
        found.share, found.stay = noise.log_uniform(0.01, 0.2), noise.uniform(0.3, 0.8)
        found.tax = noise.uniform(0.05, 0.25)
    elif cause == "saturation":
        most = min(fleet.knee * noise.uniform(0.3, 1.5), 160.0)
        found.streams = max(2, int(most))
    elif cause == "preemption":
        found.streams = max(fleet.streams, noise.whole(6, 24))
        tokens = found.streams * (1.25 * found.prompt + 0.6 * found.output)
        found.pool = tokens * noise.uniform(1.15, 1.5)
        found.pool_left = noise.uniform(0.3, 0.75)  # the drafter's weights and KV take the rest
    return found


def throughput(fleet: Fleet, speculates: bool, seed: int) -> float:
    """Return tokens a second of a short run at an even load."""
    server = Server(dataclasses.replace(fleet, swing=0.0), speculates, Noise(seed))
    ran = [server.step() for _ in range(max(250, TRIAL // fleet.streams))]
    return sum(step.tokens for step in ran) / server.now


def speedup(fleet: Fleet, seed: int) -> float:
    """Return tokens a second with speculation over those without, of short runs."""
    return throughput(fleet, True, seed) / throughput(fleet, False, seed + 1)


def draw_fleet(cause: str, seed: int) -> Fleet:
    """Draw a fleet whose trouble is this cause, or that has none.

    Args:
        cause: one of `CAUSES`, or `HEALTHY`.
        seed: of everything.
    """
    noise = Noise(seed)
    for _ in range(ATTEMPTS):
        fleet = healthy(noise)
        if cause == "position-1 collapse" and fleet.k < 2:
            continue  # with one position there is no other to tell it from
        if cause == "preemption" and fleet.knee < 60:
            continue  # a processor's requests are too few to run out of blocks
        sound = speedup(fleet, seed)
        if sound < PAYS:
            continue
        if cause == HEALTHY:
            return fleet
        faulty = plant(cause, fleet, noise)
        slow = speedup(faulty, seed)
        # What the fault takes is more than all that the healthy fleet lacks of an even better one.
        if slow < LOSES and math.log(sound / slow) > 0.3:
            return faulty
    raise ValueError(f"no fleet came of {cause!r} and seed {seed}: draw with another seed")
