"""The tables of what runs, prompts and neighbours cost, as markdown."""

from __future__ import annotations

from typing import Any

from benchmarks.tables.proofs import Report, Rows

SHOWN = (1, 2, 3, 4, 5, 6, 8, 12, 16, 17, 24, 25, 32, 40, 48, 64)  # row counts of one request


def rows(report: Report) -> Rows:
    """T(n) beside its bound, a column group a context."""
    cells: dict[tuple[int, int], dict[int, Any]] = {}
    for row in report["rows"]:
        cells.setdefault((row["requests"], row["rows"]), {})[row["context"]] = row
    contexts = sorted({row["context"] for row in report["rows"]})
    lines = []
    for (requests, count), found in cells.items():
        if requests == 1 and count not in SHOWN:
            continue
        line = [f"{requests} × {count}"]
        for context in contexts:
            row = found.get(context)
            line += _beside_bounds(row, list(report["flops"])) if row else ["–"] * 4
        lines.append(line)
    header = ["requests × rows"]
    for context in contexts:
        header += [f"ms at {context:,}", "bound", "ratio", "ratio to float32's bound"]
    return header, lines, _rows_note(report)


def _beside_bounds(row: dict[str, Any], dtypes: list[str]) -> list[str]:
    """Return a setting's cells: its time, the bound, and the ratio to it at either rate."""
    bound = row[f"bound_ms_{dtypes[0]}"]
    return [f"{row['ms']:.1f}", f"{bound:.1f}", *(f"{row[f'ratio_{d}']:.2f}" for d in dtypes)]


def _rows_note(report: Report) -> str:
    rates = ", ".join(f"{rate / 1e9:.0f} GFLOP/s in {d}" for d, rate in report["flops"].items())
    growth = ", ".join(f"{slope:.3f} at {b}" for b, slope in report["verify_growth"].items())
    five = ", ".join(f"{ratio:.2f} at {int(c):,}" for c, ratio in report["five_over_one"].items())
    steps = "; ".join(
        f"at {int(c):,} it is {step:+.0%}, from {n} rows to {n + 1}"
        for c, (n, step) in report["largest_step"].items()
    )
    return (
        f"{report['model']}, {report['dtype']}; medians of {report['rounds']} rounds, each in "
        f"another order. The machine reads {report['bandwidth'] / 1e9:.1f} GB/s (a plain sum) and "
        f"multiplies at {rates} (torch, square matrices); the bound is the longer of reading "
        "weights and KV and of multiplying at the bfloat16 rate. T(5) / T(1): "
        f"{five}. Largest step up between neighbouring row counts: {steps or 'not measured'}. "
        f"Verify growth λ by requests: {growth}. One row takes {report['one_over_floor']:.2f} "
        f"times the floor. Peak memory of running: {report['memory_ratio']:.2f} of weights and KV."
    )


def prompts(report: Report) -> Rows:
    """Reading a prompt, ours and others'."""
    others = [name for name in ("transformers", "vllm") if f"{name}_ms" in report["rows"][0]]
    lines = []
    for row in report["rows"]:
        line = [f"{row['tokens']:,}", f"{row['fairdraft_ms']:.0f}"]
        for name in others:
            value, low, high = row[f"over_{name}"]
            line += [f"{row[f'{name}_ms']:.0f}", f"{value:.2f} ({low:.2f}–{high:.2f})"]
        lines.append(line)
    header = ["tokens of the prompt", "fairdraft, ms"]
    for name in others:
        header += [f"{name}, ms", f"ours / {name}"]
    note = (
        f"One prompt at a time, {report['dtype']}, to the first token; transformers' is its "
        f"forward alone (sdpa). fairdraft with batch_invariant={report['batch_invariant']}, in "
        "chunks of "
        f"{report['max_num_batched_tokens']} rows. Medians over turns, with 95% intervals."
    )
    return header, lines, note


def neighbours(report: Report) -> Rows:
    """Rates beside busy processes."""
    cells = {(r["engine"], r["streams"], r["busy"]): r for r in report["rows"]}
    loads = sorted({busy for _, _, busy in cells})
    lines = []
    for engine, streams in dict.fromkeys(key[:2] for key in cells):
        line = [f"{engine}, {streams} stream{'s' * (streams > 1)}"]
        for busy in loads:
            row = cells[engine, streams, busy]
            share = f" ({row['over_idle']:.2f})" if busy != loads[0] else ""
            line.append(f"{row['tokens_per_second']:.1f}{share}")
        lines.append(line)
    header = ["tokens/s", *(f"beside {busy} busy processes" for busy in loads)]
    taken = len(report["rows"][0]["rates"])
    note = (
        f"SmolLM2-135M, bfloat16, whole calls; medians of {taken} rounds, in brackets of the same "
        "engine's idle rate in the same round. A busy process is a Python loop."
    )
    return header, lines, note


def mixed(report: Report) -> Rows:
    """N-gram and auto over off on mixed prompts, and what plan says."""
    lines = []
    for row in report["rows"]:
        value, low, high = row["over_off"]
        off, said = row["method"] == "off", row.get("planned")
        lines.append(
            [
                f"{row['method']}, {row['streams']} at once",
                f"{row['tokens_per_second']:.1f}",
                "–" if off else f"{value:.3f} ({low:.3f}–{high:.3f})",
                f"{said[0]:.3f} ({said[0] / value - 1:+.1%})" if said else "–",
                "–" if off else f"{row['accepted']} / {row['drafted']}",
            ]
        )
    note = (
        f"Eight prompts of {min(report['prompt_tokens'])} to {max(report['prompt_tokens'])} tokens "
        f"or twice as many, {report['tokens_per_text']} new tokens each, greedy, bfloat16; only "
        "decoding steps count. Planned: from a profile between the turns and the acceptance that "
        "was counted; in brackets how far it is from what was measured."
    )
    return ["decoding", "tokens/s", "over off", "planned", "accepted / drafted"], lines, note


def shares(report: Report) -> Rows:
    """Where a step's time goes at eight sampled requests, and EAGLE-3's cost."""
    verbs = [verb for verb in report["rows"][0]["shares"] if verb != "overhead"]
    lines = [
        [
            row["method"],
            f"{row['step_ms']:.1f}",
            *(f"{row['shares'][verb]:.1%}" for verb in verbs),
            f"{row['shares']['overhead']:.1%}",
        ]
        for row in report["rows"]
    ]
    head = report["head"]
    value, low, high = head["speedup"]
    note = (
        f"{report['streams']} requests at T = {report['temperature']:g}, top_p = "
        f"{report['top_p']}, bfloat16, decoding steps alone. EAGLE-3 at one greedy request, k = "
        f"{head['k']}, humaneval: c = {head['c']:.3f}, {value:.2f}× of off ({low:.2f}–{high:.2f}) "
        f"at a mean acceptance length of {head['mean_acceptance_length']:.2f}."
    )
    return ["", "ms a step", *verbs, "all but the run"], lines, note


# Table → (the result it needs, what writes it); of `rows` one for each shape.
SPEED = {
    "rows": ("rows", rows),
    **{f"rows_{shape}": (f"rows_{shape}", rows) for shape in ("1b", "3b", "gemma3", "qwen2")},
    "prompts": ("prompts", prompts),
    "neighbours": ("neighbours", neighbours),
    "mixed": ("mixed", mixed),
    "shares": ("shares", shares),
}
