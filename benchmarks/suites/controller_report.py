"""The report of `benchmarks.suites.controller`: predicted against measured, and replay."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from benchmarks.constants import DOCS
from benchmarks.interleave import paired_speedup, rate, speedup, turns
from benchmarks.keeping import split_rows, write_result
from benchmarks.predictions import static_cells
from benchmarks.suites.controller_grid import (
    ANSWERS,
    HOT,
    KEPT,
    KS,
    METHODS,
    STREAMS,
    WORKLOADS,
    live_path,
    profile_path,
)
from fairdraft.economics.autopilot.draft_potential import TracedText
from fairdraft.economics.autopilot.policies import Auto, Oracle, Policy, Static
from fairdraft.economics.autopilot.replay import Replayed, replay
from fairdraft.economics.costs.live_costs import LiveCosts
from fairdraft.economics.costs.profile import Profile
from fairdraft.stats.intervals import Estimate, ratio_of_means

TOLERANCE = 0.07
PASSES = 6  # of a cell's texts in the replay: traffic that goes on
PICTURE = DOCS / "predicted.png"


def texts(
    traces: dict[str, Any], method: str, workload: str, streams: int, passes: int
) -> list[TracedText]:
    """Return what a method's drafts come to in a cell.

    Args:
        traces: as `benchmarks.suites.controller traces` keeps them.
        method, workload, streams: the cell.
        passes: over all texts that were traced, each in another order; 0 is as in the live grid.
    """
    if workload == "switches":
        first, second = (
            texts(traces, method, name, streams, passes) for name in ("copies", "never repeats")
        )
        half = len(first) // 2
        return [*first[:half], *second[:half], *first[half:], *second[half:]]
    traced = traces[f"{method}/{workload}/{streams}"]
    begin, end = STREAMS[streams]
    orders = [np.random.default_rng(i).permutation(len(traced)) for i in range(passes)]
    return [
        TracedText(
            f"{workload} {streams} {turn} {i}",
            traced[i]["context"],
            np.array(traced[i]["found"]),
            np.array(traced[i]["stood"]),
            workload,
            HOT if workload == "never repeats" else 0.0,
        )
        for turn, order in enumerate(orders or [np.arange(end - begin)] * ANSWERS[streams])
        for i in order
    ]


def replays(profile: Profile, traces: dict[str, Any], passes: int) -> list[dict[str, Any]]:
    """Replay every policy in every cell, priced by the profile.

    The controller knows nothing before a method's first cell, and goes on from there to the next.
    Steps that read a prompt do not count, as in the live grid: texts of one length end together
    where nothing is drafted, and to read their followers at once would have a price of its own.
    """
    rows = []
    for method in METHODS:
        lookup = method != "eagle3"
        drafters = {} if lookup else {method: profile.drafter(method)}
        k = max(KS)
        auto = Auto(LiveCosts(profile.step, drafters, k), method, lookup, k)
        oracle = Oracle(LiveCosts(profile.step, drafters, k), None if lookup else method, k)
        policies: dict[str, Policy] = {f"k={n}": Static(n) for n in (0, *KS)}
        policies |= {"auto": auto, "oracle": oracle}
        for streams, workload in itertools.product(STREAMS, WORKLOADS):
            written = texts(traces, method, workload, streams, passes)
            done = {
                name: replay(written, policy, profile, method, streams)
                for name, policy in policies.items()
            }
            rows.append(
                {
                    "method": method,
                    "streams": streams,
                    "workload": workload,
                    "rates": {name: each.decoding_rate for name, each in done.items()},
                    "steps": done["auto"].steps,
                    "switches": done["auto"].switches,
                    "recovery": recovery(done["auto"]),
                }
            )
    return rows


def recovery(done: Replayed) -> list[int]:
    """Return, for each change of traffic, steps until it first does what it then mostly does."""
    changes = [i for i in range(1, done.steps) if done.kinds[i] != done.kinds[i - 1]]
    found = []
    for begin, end in itertools.pairwise([*changes, done.steps] if changes else []):
        later = done.drafting[(begin + end) // 2 : end]
        mostly = sum(later) * 2 > len(later)
        found.append(
            next((i - begin for i in range(begin, end) if done.drafting[i] == mostly), end - begin)
        )
    return found


def predict(
    profile: Profile, traces: dict[str, Any], method: str, workload: str, streams: int
) -> dict[str, float]:
    """Predict the speedup of each static k at the prices of the minutes in which the cell ran."""
    written = texts(traces, method, workload, streams, 0)
    # Only while prompts are read do fewer decode than were profiled; those steps do not count.
    done = {k: replay(written, Static(k), profile, method, streams, True) for k in (0, *KS)}
    return {f"k={k}": done[k].decoding_rate / done[0].decoding_rate for k in KS}


def live(traces: dict[str, Any]) -> list[dict[str, Any]]:
    """Return every cell that was measured, with what was predicted for its static settings."""
    rows = []
    for method, streams, workload in itertools.product(METHODS, STREAMS, WORKLOADS):
        path = live_path(method, workload, streams)
        if not path.exists():
            continue
        cell = json.loads(path.read_text())
        found = cell["runs"]
        profile = Profile.of(cell["profile"]) if "profile" in cell else None
        rates = {name: rate(each) for name, each in found.items()}
        statics = [f"k={k}" for k in KS]
        best = max(["off", *statics], key=lambda name: rates[name])
        rows.append(
            {
                "method": method,
                "streams": streams,
                "workload": workload,
                "commit": cell["commit"],
                "rates": {"k=0": rates["off"], **{n: rates[n] for n in (*statics, "auto")}},
                "over_off": bounds(speedup(found["auto"], found["off"])),
                "over_best": bounds(speedup(found["auto"], found[best])),
                "predicted": profile and predict(profile, traces, method, workload, streams),
                "stalled": sum(len(each["turns"]) - len(turns(each)) for each in found.values()),
                "speedups": {name: paired_speedup(found[name], found["off"]) for name in statics},
                "samples": {name: sample(each) for name, each in found.items()},
            }
        )
    return rows


def bounds(ratio: Estimate) -> list[float]:
    """Return a ratio and the ends of its interval, for JSON."""
    return [ratio.value, ratio.low, ratio.high]


def sample(run: dict[str, Any]) -> dict[str, Any]:
    """Return what is kept of a run."""
    times, counters = run["times"], run["counters"]
    return {
        "turns": run["turns"],
        **{f"{verb}_ms": times[verb] / times["num_steps"] * 1e3 for verb in ("total", "propose")},
        "tokens_per_draft": counters["num_accepted_tokens"] / max(counters["num_drafts"], 1) + 1,
        "drafted": counters["num_draft_tokens"],
    }


def alone() -> dict[str, list[float]]:
    """Return by workload plain `auto` over off and its interval, one text at a time."""
    paths = {workload: live_path("auto", workload, 1) for workload in WORKLOADS}
    cells = {
        workload: json.loads(path.read_text())["runs"]
        for workload, path in paths.items()
        if path.exists()
    }
    return {name: bounds(speedup(runs["auto"], runs["off"])) for name, runs in cells.items()}


def verdicts(rows: Sequence[dict[str, Any]], statics: Sequence[str]) -> dict[str, Any]:
    """Hold each method's controller against off and the best static draft length."""
    found = {}
    for method in METHODS:
        own = [row["rates"] for row in rows if row["method"] == method]
        if not own:
            continue
        against = {}
        for name in statics:
            # Seconds a token, cell by cell: every cell of the mix has as many tokens.
            ratio = ratio_of_means([1 / r[name] for r in own], [1 / r["auto"] for r in own])
            against[name] = bounds(ratio)
        found[method] = {
            "least over off": min(r["auto"] / r["k=0"] for r in own),
            "least over best static": min(r["auto"] / max(r[s] for s in statics) for r in own),
            "cells under 0.98 of best": sum(
                r["auto"] < 0.98 * max(r[s] for s in statics) for r in own
            ),
            "cells under 0.99 of off": sum(r["auto"] < 0.99 * r["k=0"] for r in own),
            "cells": len(own),
            **surely([row for row in rows if row["method"] == method]),
            "mix over": against,
            "regret": 1
            - sum(1 / max(r[s] for s in statics) for r in own) / sum(1 / r["auto"] for r in own),
        }
    return found


def surely(rows: Sequence[dict[str, Any]]) -> dict[str, int]:
    """Count the measured cells whose whole interval lies under what is asked."""
    return {
        f"cells surely under {limit} of {what}": sum(row[f"over_{what}"][2] < limit for row in rows)
        for what, limit in (("off", 0.99), ("best", 0.98))
        if "over_off" in rows[0]
    }


def draw(cells: Sequence[dict[str, Any]]) -> None:
    """Draw predicted against measured speedup, a point a cell."""
    figure = Figure(figsize=(5.5, 5), layout="constrained")
    axes = figure.subplots()
    most = 1.05 * max(max(c["measured"], c["predicted"]) for c in cells)
    least = 0.9 * min(min(c["measured"], c["predicted"]) for c in cells)
    line = np.array([least, most])
    axes.plot(line, line, color="grey", linewidth=0.8)
    axes.fill_between(line, line * (1 - TOLERANCE), line * (1 + TOLERANCE), color="0.9")
    markers = dict(zip(STREAMS, ("o", "s", "^"), strict=True))
    for i, method in enumerate(METHODS):
        for streams in STREAMS:
            own = [c for c in cells if c["method"] == method and c["streams"] == streams]
            axes.scatter(
                [c["predicted"] for c in own],
                [c["measured"] for c in own],
                s=18,
                color=f"C{i}",
                marker=markers[streams],
                label=f"{method}, {streams} at once",
            )
    axes.set(xlabel="predicted speedup", ylabel="measured speedup", xlim=line, ylim=line)
    axes.legend(fontsize="x-small", title="grey: within 7%")
    figure.savefig(PICTURE, dpi=150)


def write() -> None:
    """Print and keep everything."""
    profile = Profile.load(profile_path())
    traces = json.loads((KEPT / "traces.json").read_text())
    replayed = replays(profile, traces, PASSES)
    measured = live(traces)
    statics = [f"k={k}" for k in (0, *KS)]
    titled = {
        "replay": replayed,
        "live": measured,
    }
    for title, rows in titled.items():
        print(title)
        for row in rows:
            base = row["rates"]["k=0"]
            shown = "  ".join(f"{name} {rate / base:.3f}" for name, rate in row["rates"].items())
            best = max(row["rates"][s] for s in statics)
            extra = f"  switches {row['switches']} in {row['steps']}" if "steps" in row else ""
            extra += f"  recovery {row['recovery']}" if row.get("recovery") else ""
            print(
                f"  {row['method']:7} {row['streams']} {row['workload']:14} {shown}  "
                f"auto/best {row['rates']['auto'] / best:.3f}{extra}"
            )
        for method, verdict in verdicts(rows, statics).items():
            print(f"  {method}: {json.dumps(verdict)}")
    cells = static_cells(measured)
    brief, samples = split_rows(measured, "samples")
    report: dict[str, Any] = {
        "passes": PASSES,
        "replay": replayed,
        "live": brief,
        "verdicts": {title: verdicts(rows, statics) for title, rows in titled.items()},
        "alone": alone(),
    }
    if cells:
        off_by = np.array([c["predicted"] / c["measured"] - 1 for c in cells])
        within = float(np.mean(np.abs(off_by) <= TOLERANCE))
        report["within_tolerance"] = within
        print(f"predicted within {TOLERANCE:.0%}: {within:.1%} of {len(cells)} cells")
        for c, e in zip(cells, off_by, strict=True):
            if abs(e) > TOLERANCE:
                print("  ", c, f"{e:+.1%}")
        draw(cells)
    keys = ("method", "streams", "workload")
    named = [{k: row[k] for k in keys} | own for row, own in zip(measured, samples, strict=True)]
    write_result("controller", report, {"live": named})
