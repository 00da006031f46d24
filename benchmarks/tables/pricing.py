"""The tables of docs/pricing.md, as markdown."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.predictions import static_cells
from benchmarks.tables.proofs import Report, Rows

METHODS = ("ngram", "suffix", "eagle3")
STATICS = ("k=1", "k=2", "k=4", "k=8")


def predicted(report: Report) -> Rows:
    """Share of cells within 7%, and the typical error, by method and streams."""
    rows = []
    cells = static_cells(report["live"])
    for method in METHODS:
        for streams in (1, 4, 8):
            own = [
                cell["predicted"] / cell["measured"] - 1
                for cell in cells
                if (cell["method"], cell["streams"]) == (method, streams)
            ]
            within = sum(abs(error) <= 0.07 for error in own)
            rows.append(
                [
                    f"{method}, {streams} at once",
                    f"{within} of {len(own)}",
                    f"{np.median(np.abs(own)):.1%}",
                    f"{min(own):+.1%} … {max(own):+.1%}",
                ]
            )
    note = (
        f"**{report['within_tolerance']:.0%} of {len(cells)} cells** (k of 1, 2, 4 "
        "and 8 on humaneval, gsm8k and mt_bench) lie within 7%. Costs come from rounds of a "
        "profile between the turns of the cell, which read no prompt; acceptance from a trace of "
        "the longest drafts on each cell's texts, replayed at every other k and load. Half of the "
        "cells lie within "
        f"{np.median(np.abs([c['predicted'] / c['measured'] - 1 for c in cells])):.1%}.\n\n"
        "![predicted against measured](predicted.png)"
    )
    return ["predicted speedup", "within 7%", "median error", "range"], rows, note


def _row(name: str, rates: dict[str, float]) -> list[str]:
    base = rates["k=0"]
    best = max(rates[s] for s in ("k=0", *STATICS))
    shown = [f"{rates[s] / base:.2f}" for s in STATICS]
    oracle = [f"{rates['oracle'] / base:.2f}"] if "oracle" in rates else []
    return [name, *shown, f"**{rates['auto'] / base:.2f}**", *oracle, f"{rates['auto'] / best:.3f}"]


def _mix(verdicts: dict[str, Any]) -> str:
    parts = []
    for method, verdict in verdicts.items():
        against = ", ".join(
            f"{name.replace('k=0', 'off')} {value:.3f} ({low:.3f}–{high:.3f})"
            for name, (value, low, high) in verdict["mix over"].items()
        )
        bad = f"{verdict['cells under 0.98 of best']} of {verdict['cells']}"
        parts.append(
            f"{method}: over the whole mix, tokens a second of `auto` over {against}; never under "
            f"{verdict['least over off']:.3f} of off and {verdict['least over best static']:.3f} "
            f"of a cell's best static k ({bad} cells under 0.98); regret {verdict['regret']:+.2%}"
        )
    return "; ".join(parts) + "."


def live(report: Report) -> Rows:
    """Every measured cell."""
    rows = []
    for method in METHODS:
        for row in (row for row in report["live"] if row["method"] == method):
            name = f"{method}, {row['streams']} at once, {row['workload']}"
            _, low, high = row["over_off"]
            cells = _row(name, row["rates"])
            cells[-2] += f" ({low:.2f}–{high:.2f})"
            _, low, high = row["over_best"]
            cells[-1] += f" ({low:.2f}–{high:.2f})"
            rows.append(cells)
    verdicts = report["verdicts"]["live"]
    under = {
        what: sum(verdict[what] for verdict in verdicts.values())
        for what in ("cells surely under 0.99 of off", "cells surely under 0.98 of best", "cells")
    }
    stalled = sum(row["stalled"] for row in report["live"])
    default = ", ".join(f"{over:.2f} {name}" for name, (over, _, _) in report["alone"].items())
    commits = {
        commit[:10]: sorted({row["method"] for row in report["live"] if row["commit"] == commit})
        for commit in dict.fromkeys(row["commit"] for row in report["live"])
    }
    measured_at = "; ".join(f"{', '.join(own)} at {commit}" for commit, own in commits.items())
    note = (
        "Speedup over off, measured in turns of eight steps; brackets are 95% intervals, of a cell "
        f"over its turns, of the mix over cells. {under['cells surely under 0.99 of off']} of "
        f"{under['cells']} cells lie surely under 0.99 of off, "
        f"{under['cells surely under 0.98 of best']} surely under 0.98 of the best static k. "
        f"Turns in which the machine stood still are left out, {stalled} of all. "
        + _mix(verdicts)
        + ' `{"method": "auto"}` and no more (suffix and the EAGLE-3 head, costs measured at '
        f"start), over off, one at once: {default}. Measured: {measured_at}."
    )
    return ["measured", *STATICS, "auto", "auto / best"], rows, note


def replayed(report: Report) -> Rows:
    """Every cell on replay."""
    rows = [
        _row(f"{row['method']}, {row['streams']} at once, {row['workload']}", row["rates"])
        for row in report["replay"]
    ]
    switching = [row for row in report["replay"] if row["recovery"]]
    recovery = [step for row in switching for step in row["recovery"]]
    often = {
        method: sum(row["switches"] for row in report["replay"] if row["method"] == method)
        / sum(row["steps"] for row in report["replay"] if row["method"] == method)
        for method in METHODS
    }
    note = (
        f"Speedup over off on replay, {report['passes']} passes over each cell's texts, steps that "
        "read no prompt; the controller knows nothing before a method's first cell. "
        + _mix(report["verdicts"]["replay"])
        + " It begins or ends drafting "
        + ", ".join(f"{1000 * share:.0f} ({method})" for method, share in often.items())
        + " times in 1,000 steps."
    )
    if recovery:
        note += (
            f" After a change of traffic it drafts, or stops, as it then mostly does after "
            f"{np.median(recovery):.0f} steps (median of {len(recovery)}; most {max(recovery)})."
        )
    return ["replayed", *STATICS, "auto", "oracle", "auto / best"], rows, note


def plan_vllm(report: Report) -> Rows:
    """The full sweep beside the plan."""
    rows = []
    for row in report["rows"]:
        low, high = row["interval"] or (1.0, 1.0)
        marks = [name for name in ("chosen", "best") if row[name]]
        rows.append(
            [
                f"{row['streams']} at once, k = {row['k']}",
                f"{row['tokens_per_second']:.1f}",
                f"{row['speedup']:.2f}",
                f"{row['predicted'] or 1:.2f} ({low:.2f}–{high:.2f})",
                ", ".join(marks),
            ]
        )
    note = (
        f"vLLM {report['vllm']} on the CPU, n-gram, humaneval; planned from k of 0, 2 and 6 on "
        "other prompts, "
        f"measured {report['repeats']} times in turns; medians."
    )
    return ["vLLM", "tokens/s", "speedup", "planned (95%)", ""], rows, note


def long_context(report: Report) -> Rows:
    """Steps and latencies by context."""
    rows = []
    for row in report["rows"]:
        plain, spec = row["predicted_itl_ms"], row["measured_itl_ms"]
        steps = [
            f"{row['plain_ms'][b]:.1f} / {row['roofline_ms'][b]:.1f}"
            if b in row["plain_ms"]
            else "–"
            for b in ("1", "8")
        ]
        ends = [str(n) if n else "none" for n in row["saturation"].values()]
        rows.append(
            [
                f"{row['context']:,}",
                *steps,
                f"{plain[0]:.1f} → {plain[1]:.1f}",
                f"{spec[0]:.1f} → {spec[1]:.1f}",
                *ends,
            ]
        )
    header = [
        "context",
        "ms a plain step / roofline, 1 request",
        "8 requests",
        "ms between tokens, predicted",
        "measured",
        *(f"k* = 0 at, {name}" for name in report["rows"][0]["saturation"]),
    ]
    note = (
        f"{report['k']} drafts of which {report['tokens_per_step'] - 1:.1f} stand, by decree. The "
        f"roofline has {report['bandwidth'] / 1e9:.1f} GB/s, {report['flops'] / 1e9:.0f} GFLOPS, "
        "read off the profile's smallest run and largest prefill."
    )
    return header, rows, note


def idle(report: Report) -> Rows:
    """What auto takes of steps in which it drafts nothing."""
    rows = [
        [
            f"{'default' if row['method'] == 'auto' else row['method']}, {row['streams']} at once",
            f"{row['step_ms']:.1f}",
            str(row["idle_steps"]),
            f"{row['share']:.2%}",
            f"{row['later_share']:.2%}",
            f"{row['propose_ms']:.2f}",
        ]
        for row in report["rows"]
    ]
    note = (
        f"The demo model in bfloat16, {report['tokens']} tokens a text at temperature 1.5; of "
        "steps that draft nothing, the share that `auto` takes, and noting which rows stand, as "
        "for any proposer."
    )
    header = [
        "auto over",
        "ms a step",
        "steps",
        "of all",
        f"behind the first {report['begin']}",
        "ms, median",
    ]
    return header, rows, note


PRICING = {
    "idle": ("idle", idle),
    "predicted": ("controller", predicted),
    "controller_live": ("controller", live),
    "controller_replayed": ("controller", replayed),
    "plan_vllm": ("plan_vllm", plan_vllm),
    "long_context": ("long_context", long_context),
}
