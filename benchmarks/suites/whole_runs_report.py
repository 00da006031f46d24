"""The table of `whole_runs`: each cell predicted, beside what was measured."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from fairdraft.economics.costs.cost_surface import CostSurface
from fairdraft.economics.costs.profile import Profile
from fairdraft.economics.costs.serving_costs import ServingCosts
from fairdraft.economics.costs.step_costs import StepCosts
from fairdraft.economics.planning.acceptance import Acceptance
from fairdraft.economics.planning.acceptance_draws import Texts
from fairdraft.economics.planning.queueing import Limits, simulate
from fairdraft.economics.planning.rounds import RoundLaw, round_laws
from fairdraft.economics.planning.served import Served, percentile
from fairdraft.telemetry import SpecCounters

METHODS = ("ngram", "suffix", "eagle3")
KS = (2, 4)
STREAMS = (1, 4, 8)
OFF = "off"
TOKENS = 64  # of an answer
LUCK = range(8)  # seeds of acceptance; predictions are means over them
WITHIN = 0.07  # what an error may be
Report = dict[str, Any]
Cell = tuple[str, int, int]  # method, k and streams


def cells() -> list[Cell]:
    """Return every method, k and number of streams; loads that are compared lie side by side."""
    speculations = [(OFF, 0), *((method, k) for method in METHODS for k in KS)]
    return [(method, k, streams) for streams in STREAMS for method, k in speculations]


def cell_name(cell: Cell) -> str:
    """Return the name that a cell's measurement is kept under."""
    return "-".join(map(str, cell))


def merged(parts: Sequence[Report]) -> Profile:
    """Return a profile with the samples of all parts."""

    def together(name: str) -> list[Report]:
        samples: dict[tuple[int, int, int], list[float]] = defaultdict(list)
        for part in parts:
            for point in _points(part, name):
                samples[point["requests"], point["rows"], point["context"]] += point["samples"]
        keys = ("requests", "rows", "context")
        return [{**dict(zip(keys, at, strict=True)), "samples": s} for at, s in samples.items()]

    whole = {**parts[0], **{name: together(name) for name in ("step", "run", "prefill")}}
    for kind in ("drafters", "reading"):
        whole[kind] = {method: together(f"{kind}/{method}") for method in parts[0][kind]}
    return Profile.of(whole)


def _points(part: Report, name: str) -> list[Report]:
    """Return the points of a surface, named by its key, or by its key and a method."""
    kind, _, method = name.partition("/")
    found: list[Report] = part[kind][method] if method else part[kind]
    return found


def of_these_minutes(profile: Profile, probe: Report) -> Profile:
    """Return a profile as slow as the machine was while a cell ran.

    Args:
        profile: of all parts.
        probe: of that time; decoding steps and prompt chunks are slower or quicker by the median of
            its samples over the profile's.
    """
    decoding = _slowness(profile.step, probe["step"])
    assert profile.prefill is not None
    return replace(
        profile,
        step=_slowed(profile.step, decoding),
        drafters={name: _slowed(each, decoding) for name, each in profile.drafters.items()},
        prefill=_slowed(profile.prefill, _slowness(profile.prefill, probe["prefill"])),
        reading={name: _slowed(each, decoding) for name, each in profile.reading.items()},
    )


def _slowness(surface: CostSurface, points: Sequence[Report]) -> float:
    """Return the median over settings of a probe's median over the profile's."""
    ratios = [
        np.median(point["samples"])
        / surface.seconds(point["requests"], point["rows"], point["context"])
        for point in points
        if surface.covers(point["requests"], point["rows"], point["context"])
    ]
    return float(np.median(ratios))


def _slowed(surface: CostSurface, factor: float) -> CostSurface:
    slower = (
        replace(point, samples=tuple(factor * s for s in point.samples)) for point in surface.points
    )
    return CostSurface(slower, surface.name)


def learned(counters: Sequence[Report]) -> Acceptance:
    """Return the acceptance of texts, each a kind of its own: they differ, and so do their ends."""
    kinds = []
    for each in counters:
        count = SpecCounters(**each)
        if count.num_drafts:
            kinds.append(
                Acceptance.of_counts(
                    count.num_drafts, count.accepted_per_pos, count.num_steps, count.drafted_per_pos
                )
            )
        elif count.num_steps:  # nothing was found in all of it
            kinds.append(Acceptance((Texts((0.0,), (np.inf,), drafted_share=0.0),)))
    return Acceptance.mix([(1 / len(kinds), kind) for kind in kinds])


def predicted(
    profile: Profile,
    method: str,
    k: int,
    streams: int,
    lengths: Sequence[int],
    laws: list[RoundLaw],
) -> list[Served]:
    """Simulate a cell with several draws of acceptance."""
    context = float(np.mean(lengths)) + TOKENS / 2
    costs = StepCosts.of_profile(profile, context)
    priced = ServingCosts(costs, None if method == OFF else method, k)
    return [
        simulate(
            np.array(lengths),
            np.full(len(lengths), TOKENS),
            priced,
            laws,
            Limits(streams),
            concurrency=streams,
            drain=False,
            seed=seed,
        )
        for seed in LUCK
    ]


def rate(served: Sequence[Served]) -> float:
    """Return tokens a second over several simulations."""
    return sum(each.tokens for each in served) / sum(each.seconds for each in served)


def row(profile: Profile, cell: Cell, told: Report, training: Report) -> Report:
    """Return a cell, predicted beside measured.

    Args:
        profile: of all parts.
        cell: method, k and streams.
        told: what `run` gave.
        training: by method, what `run` gave of the other half.
    """
    method, k, streams = cell
    lengths = told["prompt_tokens"]
    then = of_these_minutes(profile, told["probe"])
    laws = own = [RoundLaw.plain()]
    if method != OFF:
        laws = round_laws(learned(training[method]["counters"]), k)
        own = round_laws(learned(told["counters"]), k)
    measured = told["tokens"] / told["seconds"]
    found: Report = {
        "method": method,
        "k": k,
        "streams": streams,
        "tokens_per_second": measured,
    }
    for name, costs, law in (
        ("", profile, laws),
        ("_then", then, laws),
        *([("_own_acceptance", then, own)] if method != OFF else []),
    ):
        served = predicted(costs, method, k, streams, lengths, law)
        found[f"predicted{name}"] = rate(served)
        found[f"error{name}"] = rate(served) / measured - 1
        if not name:
            waits = np.concatenate([each.inter_token for each in served])
            found["inter_token_ms"] = 1e3 * percentile(np.array(told["inter_token"]), 50)
            found["predicted_inter_token_ms"] = 1e3 * percentile(waits, 50)
    return found


def table(raw: Mapping[str, Report]) -> list[Report]:
    """Return the rows of all cells that were measured.

    Args:
        raw: parts by name: `learned-METHOD`, `profile-NUMBER`, and cells by `cell_name`.
    """
    profile = merged([part for name, part in raw.items() if name.startswith("profile")])
    training = {m: raw[f"learned-{m}"] for m in METHODS if f"learned-{m}" in raw}
    rows = [
        row(profile, cell, raw[cell_name(cell)], training)
        for cell in cells()
        if cell_name(cell) in raw and (cell[0] == OFF or cell[0] in training)
    ]
    plain = {each["streams"]: each for each in rows if each["method"] == OFF}
    for each in rows:
        off = plain.get(each["streams"])
        if off is not None:
            each["speedup"] = each["tokens_per_second"] / off["tokens_per_second"]
            each["predicted_speedup"] = each["predicted"] / off["predicted"]
    return rows
