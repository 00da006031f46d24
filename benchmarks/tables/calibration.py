"""The tables of how often a diagnosis is right, as markdown."""

from __future__ import annotations

from benchmarks.tables.proofs import Report, Rows


def calibration(report: Report) -> Rows:
    """How often each word of confidence was right, on fleets that nothing was tuned on."""
    rows = []
    for row, tuned in zip(report["reported"]["table"], report["tuned"]["table"], strict=True):
        low, high = row["interval"]
        share = "–" if row["share"] is None else f"{row['share']:.1%}"
        rows.append(
            [
                row["confidence"],
                f"{row['right']} of {row['verdicts']}",
                share,
                f"{low:.1%} … {high:.1%}",
                f"{tuned['right']} of {tuned['verdicts']}",
            ]
        )
    half = report["reported"]
    high, many = half["high_of_many_windows"]
    refused = sum(row["refused"] for row in half["engines"])
    sound = report["healthy"]
    note = (
        f"{half['fleets']} made-up fleets with one thing wrong each, other seeds than those that "
        f"the numbers were chosen on (last column). Of {many} with 5 windows and more, {high} got "
        f"a verdict of high confidence; {refused} were refused as too short. Of "
        f"{sound['fleets']} fleets with nothing wrong, {sound['pays']} were said to pay and "
        f"{sound['open']} left open.\n\n![what was wrong against what was named](confusion.png)"
    )
    header = ["confidence", "right", "share", "95% interval", "right, tuned half"]
    return header, rows, note


def engines(report: Report) -> Rows:
    """How often verdicts were right on each engine's print."""
    rows = [
        [
            row["engine"],
            f"{row['right']} of {row['fleets']}",
            f"{row['high_right']} of {row['high']}",
            ", ".join(row["untold"]) or "–",
        ]
        for row in report["reported"]["engines"]
    ]
    note = "What a print cannot tell must come out as unknown, and is counted right only then."
    return ["printed as", "right", "right where high", "cannot tell"], rows, note


def real(report: Report) -> Rows:
    """What was said of real runs."""
    rows = []
    for row in report["real"]:
        share = "–".join(f"{100 * value:.0f}" for value in row["share"][1:])
        value, low, high = row["speedup"]
        rows.append(
            [
                row["cause"],
                row["said"],
                row["confidence"],
                f"{row['share'][0]:.0%} ({share})",
                f"{value:.2f} ({low:.2f}–{high:.2f})",
            ]
        )
    note = (
        "One run a cause on SmolLM2, provoked on purpose (`benchmarks/suites/provoked.py`), "
        "off and on in turns."
    )
    return ["provoked", "named first", "confidence", "share, %", "speedup"], rows, note


CALIBRATION = {
    "calibration": ("calibration", calibration),
    "calibration_engines": ("calibration", engines),
    "calibration_real": ("calibration", real),
}
