"""The tables of docs/proofs.md and docs/benchmarks.md that need no arithmetic, as markdown."""

from __future__ import annotations

from typing import Any

Report = dict[str, Any]
Rows = tuple[list[str], list[list[str]], str]

SIDES = ("before", "after")  # of a comparison of two checkouts


def coupled(report: Report) -> Rows:
    rows = [
        [
            row["run"],
            f"{row['identical']} / {row['texts']}",
            f"{row['accepted']:,} / {row['drafted']:,}",
        ]
        for row in report["rows"]
    ]
    note = f"{report['tokens_per_text']} tokens each, {report['dtype']}, batch-invariant."
    return ["run", "identical texts", "accepted / drafted"], rows, note


def invariance(report: Report) -> Rows:
    rows = [
        [
            row["run"],
            f"{row['identical']} / {row['texts']}",
            f"{row['accepted']:,}",
            str(row["preemptions"]),
            f"{row['cached_tokens']:,}",
        ]
        for row in report["rows"]
    ]
    ratio = report["cost_ratio"]
    flips = []
    for dtype, count in report["flips"].items():
        each = ", ".join(
            f"{name} {count[name]} of {count['tokens']:,}" for name in ("fairdraft", "transformers")
        )
        flips.append(f"{dtype}: {each}")
    note = (
        f"The mode costs {ratio['decoding']:.2f}× the time at eight streams with n-gram (prompts "
        f"included) and {ratio['prefill']:.2f}× for a prompt chunk of 500 rows. Likeliest tokens "
        "that differ between one row and five, along the target's texts and without the mode: "
        + "; ".join(flips)
        + "."
    )
    header = ["run", "identical texts", "accepted drafts", "preemptions", "cached prompt tokens"]
    return header, rows, note


def pairwise(report: Report) -> Rows:
    """One line a method: its texts over all samplings and arrangements."""
    lines = []
    for method in dict.fromkeys(row["method"] for row in report["rows"]):
        own = [row for row in report["rows"] if row["method"] == method]
        texts, differing = (sum(counts) for counts in zip(*map(_texts, own), strict=True))
        lines.append(
            [
                method,
                str(len(own)),
                f"{texts - differing} / {texts}",
                f"{sum(row['accepted'] for row in own):,} / {sum(r['drafted'] for r in own):,}",
                f"{sum(row['preemptions'] for row in own):,}",
                f"{sum(row['cached_tokens'] for row in own):,}",
            ]
        )
    note = (
        f"{report['prompts']} prompts, {report['tokens_per_text']} tokens each, {report['dtype']}, "
        "default settings: method × {greedy, T = 1 seeded} × {1 stream, 8 streams, chunks of 48, "
        "prefix hits, preemption}, each pair of levels of two factors, against what one request at "
        f"a time writes without speculation. {report['differing']} texts differ."
    )
    header = ["method", "cells", "identical texts", "accepted / drafted", "preemptions"]
    return [*header, "cached prompt tokens"], lines, note


def _texts(row: Report) -> tuple[int, int]:
    """Return how many texts a cell has, and how many of them differ."""
    return row["texts"], len(row["differing"])


def block(report: Report) -> Rows:
    rows = []
    for row in report["rows"]:
        low, high = row["gain_interval"]
        rows.append(
            [
                f"{row['layers']} of 30 layers, k = {row['k']}",
                f"{row['rounds']:,}",
                f"{row['standard']:.3f}",
                f"{row['block']:.3f}",
                f"{100 * (row['gain'] - 1):+.2f}%",
                f"{100 * (low - 1):+.2f}% … {100 * (high - 1):+.2f}%",
            ]
        )
    header = ["drafter", "rounds", "standard", "block", "gain", "95% interval"]
    note = f"Mean acceptance length on {report['dataset']}, T = {report['temperature']}."
    return header, rows, note


def verification(report: Report) -> Rows:
    step = report["step_ms"]
    names = next(iter(report["vocabularies"].values()))["median_ms"]
    rows = []
    for name in names:
        row = [name]
        for found in report["vocabularies"].values():
            value = found["median_ms"][name]
            row += [f"{value:.1f}", f"{value / (value + step):.1%}"]
        rows.append(row)
    header = ["32 requests × 5 rows"]
    for vocabulary in report["vocabularies"]:
        header += [f"{int(vocabulary):,} words, ms", "of a step"]
    grown = max(max(f["peak_growth_mib"].values()) for f in report["vocabularies"].values())
    whole = max(f["rows_mib"] for f in report["vocabularies"].values())
    note = (
        f"The step's run takes {step:.0f} ms (SmolLM2, bfloat16; assumed for the larger vocabulary "
        f"too). The process grew by {grown:.0f} MiB at most while it verified; one copy of the "
        f"larger rows would be {whole:.0f} MiB."
    )
    return header, rows, note


def context(report: Report) -> Rows:
    rows = []
    for row in report["rows"]:
        speed = row["tokens_per_second"]
        rows.append(
            [
                f"{row['dataset']}, {row['context']:,}",
                f"{row['mean_acceptance_length']:.2f}",
                f"{row['tokens_per_step']:.2f}",
                " ".join(f"{rate:.2f}" for rate in row["acceptance_rate_per_pos"]),
                f"{speed['off']:.1f}",
                f"{speed['ngram']:.1f}",
            ]
        )
    header = [
        "dataset, context",
        "mean acceptance length",
        "tokens per step",
        "per position",
        "tokens/s off",
        "n-gram",
    ]
    note = f"k = {report['k']}, {report['tokens_per_text']} new tokens, one stream, bfloat16."
    return header, rows, note


def overhead(report: Report) -> Rows:
    """Write what a step costs besides the run, before and after."""
    rows = []
    for row in report["rows"]:
        value, low, high = row["ratio"]
        sides = (f"{row[f'{side}_ms']:.3f} ({row[f'{side}_share']:.1%})" for side in SIDES)
        name = f"{row['method']}, {row['streams']} at once"
        rows.append([name, *sides, f"{value:.3f} ({low:.3f}–{high:.3f})"])
    before, after = (report["commits"][side][:10] for side in SIDES)
    note = (
        "Milliseconds a step outside the model's run, and their share of it; the ratio is the "
        f"median over {report['rounds']} rounds of turns, with its 95% interval. Before: {before}; "
        f"after: {after}. Batch-invariant on both sides."
    )
    return ["the demo model, bfloat16", "before, ms", "after, ms", "after / before"], rows, note


PROOFS = {
    "overhead": overhead,
    "coupled": coupled,
    "invariance": invariance,
    "pairwise": pairwise,
    "block": block,
    "verification": verification,
    "context": context,
}
