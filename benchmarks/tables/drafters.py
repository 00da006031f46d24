"""The tables of docs/drafters.md and those about drafters in docs/benchmarks.md, as markdown."""

from __future__ import annotations

from typing import Any

from benchmarks.tables.proofs import Report, Rows

POSITIONS = 3


def acceptance(row: Report) -> list[str]:
    """The first positions' rates with their 95% intervals."""
    cells = []
    for i in range(POSITIONS):
        if i < len(row["acceptance_per_pos"]):
            rate, low, high = row["acceptance_per_pos"][i]
            cells.append(f"{rate:.2f} ({low:.2f}–{high:.2f})")
        else:
            cells.append("–")
    return cells


def drafters(report: Report) -> Rows:
    cells: dict[tuple[str, str], dict[int, Any]] = {}
    for row in report["rows"]:
        cells.setdefault((row["dataset"], row["method"]), {})[row["streams"]] = row
    rows = []
    for (dataset, method), by_streams in cells.items():
        one = by_streams[1]
        off = method == "off"
        line = [f"{dataset}: {method}"]
        line += ["–"] * (POSITIONS + 2) if off else acceptance(one)
        if not off:
            line += [f"{one['mean_acceptance_length']:.2f}", f"{one['draft_us_per_token']:,.0f}"]
        for row in by_streams.values():
            line += [f"{row['tokens_per_second']:.1f}", "–" if off else f"{row['speedup']:.2f}×"]
        rows.append(line)
    header = ["dataset: method", *(f"α at {i + 1}" for i in range(POSITIONS))]
    header += ["mean acceptance length", "µs a draft token"]
    for streams in (1, 8):
        header += [f"tokens/s, {streams} stream{'s' if streams > 1 else ''}", "speedup"]
    same = {
        streams: f"{sum(r['identical_texts'] for r in found)} of {sum(r['texts'] for r in found)}"
        for streams in (1, 8)
        if (found := [row for row in report["rows"] if row["streams"] == streams])
    }
    note = (
        f"{report['prompts']} prompts a cell, {report['tokens_per_text']} new tokens each, greedy, "
        "bfloat16; speedup is the median over prompts of the ratio to off beside it. α at position "
        "i: of the rounds that drafted so far, the share in which the i-th token stood, with its "
        f"95% interval (Wilson). At one stream {same[1]} texts were those written without "
        f"speculation, at eight {same[8]}: there prompts are read in chunks of other sizes, which "
        "bfloat16 rounds otherwise; measured without batch invariance, which is the default now."
    )
    return header, rows, note


def heads(report: Report) -> Rows:
    rows = []
    for row in report["rows"]:
        off = row["method"] == "off"
        line = [f"{row['dataset']}: {row['method']}"]
        if off:
            line += ["–"] * (POSITIONS + 3) + [f"{row['tokens_per_second']:.1f}", "–", "–", "–"]
        else:
            line += acceptance(row)
            line += [f"{row['mean_acceptance_length']:.2f}"]
            line += [f"{row['c']:.3f}", f"{row['verify_growth']:.2f}"]
            line += [f"{row['tokens_per_second']:.1f}", f"{row['predicted_speedup']:.2f}×"]
            line += [f"{row['speedup']:.2f}×"]
            mib = row.get("weights_mib")
            line += ["–" if mib is None else f"{mib:.1f} + {row['kv_bytes_per_token'] / 1024:.2f}"]
        rows.append(line)
    header = ["dataset: method", *(f"α at {i + 1}" for i in range(POSITIONS))]
    header += ["mean acceptance length", "c", "verify growth", "tokens/s", "predicted", "measured"]
    header += ["weights, MiB + KV, KiB a token"]
    note = (
        f"{report['prompts']} prompts a dataset, {report['tokens_per_text']} new tokens each, one "
        "stream, greedy, bfloat16; measured is the median over prompts of the ratio to off beside "
        "it, predicted what the equation makes of α, c and verify growth. Weights are those that a "
        "pass reads, the rows of the target's vocabulary among them."
    )
    return header, rows, note


def heads_summary(report: Report) -> Rows:
    datasets = list(dict.fromkeys(row["dataset"] for row in report["rows"]))
    by_method: dict[str, list[str]] = {}
    for row in report["rows"]:
        if row["method"] != "off":
            by_method.setdefault(row["method"], []).append(f"{row['speedup']:.2f}×")
    note = "SmolLM2-135M, bfloat16, one stream; the whole table is in docs/benchmarks.md."
    return ["speedup", *datasets], [[name, *cells] for name, cells in by_method.items()], note


def eagle3_vllm(report: Report) -> Rows:
    rows = [
        [
            name,
            f"{report[key]['acceptance_rate']:.1%}",
            f"{report[key]['mean_acceptance_length']:.2f}",
        ]
        for name, key in (("fairdraft", "fairdraft"), ("vLLM", "vllm"))
    ]
    note = (
        f"k = {report['k']}, {report['texts']} prompts of three datasets, "
        f"{report['tokens_per_text']} new tokens each, greedy, {report['dtype']}, one stream; "
        f"{report['identical_texts']} of {report['texts']} texts are the same tokens in both. "
        "Rates are accepted over drafted, as vLLM counts."
    )
    return ["", "acceptance rate", "mean acceptance length"], rows, note


def suffix(report: Report) -> Rows:
    rows = []
    for kind, by_size in report["proposal_us"].items():
        for size, median in by_size.items():
            p99 = report["proposal_p99_us"][kind][size]
            rows.append([f"{kind}, {int(size):,} tokens", f"{median:.1f}", f"{p99:.1f}"])
    held = report["memory"]
    half, last = held["growth"][len(held["growth"]) // 2 - 1], held["growth"][-1]
    note = (
        f"k = {report['k']}. After {half['requests']:,} requests of 100 tokens the index takes "
        f"{half['bytes'] / 2**20:.0f} MiB, after {last['requests']:,} it takes "
        f"{last['bytes'] / 2**20:.0f} MiB and holds the newest {last['tokens']:,} tokens: "
        f"{held['bytes_per_token']:.0f} bytes each."
    )
    return ["one proposal, past answers of", "median, µs", "99th percentile, µs"], rows, note


def suffix_curve(report: Report) -> Rows:
    curves = report["curves"]
    count = len(next(iter(curves.values())))
    shown = [i for i in (0, 1, 2, 3, 7, 15, 31) if i < count]
    rows = [[name, *(f"{values[i]:.2f}" for i in shown)] for name, values in curves.items()]
    header = ["tokens a step", *(f"request {i + 1}" for i in shown)]
    return header, rows, f"k = {report['k']}, greedy, one request after the other."


def assisted(report: Report) -> Rows:
    speed, ratios = report["tokens_per_second"], report["ratios"]
    rows = [
        [label, f"{speed[mine]:.1f}", f"{speed[peer]:.1f}", f"{ratios[label]:.2f}×"]
        for label, mine, peer in (
            ("off", "fairdraft off", "transformers off"),
            ("draft model", "fairdraft draft model", "transformers assisted"),
            ("self-drafting", "fairdraft self-drafting", "transformers early exit"),
        )
    ]
    lengths = ", ".join(f"{v:.2f}" for v in report["mean_acceptance_length"].values())
    note = (
        f"Drafter: the first {report['layers']} of 30 layers, k = {report['k']}; bfloat16, greedy, "
        f"one stream, {report['texts']} texts of {report['tokens_per_text']} tokens; mean "
        f"acceptance length {lengths}. So large a drafter loses to off, here and there: what is "
        "measured is the ratio."
    )
    return ["tokens/s", "fairdraft", "transformers", "ratio"], rows, note


# Table → (the results it needs, what writes it).
DRAFTERS = {
    "drafters": ("drafters", drafters),
    "heads": ("heads", heads),
    "heads_summary": ("heads", heads_summary),
    "eagle3_vllm": ("eagle3_vllm", eagle3_vllm),
    "suffix": ("suffix", suffix),
    "suffix_curve": ("suffix", suffix_curve),
    "assisted": ("assisted", assisted),
}
