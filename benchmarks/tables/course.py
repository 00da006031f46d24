"""The tables of numbers on the course's pages, from the equations and from measurements."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median

from benchmarks.keeping import read_summary
from benchmarks.tables.proofs import Report
from benchmarks.tables.text import machine, markdown
from fairdraft.economics import expected_tokens_per_verify, optimal_k, speedup
from fairdraft.economics.equations.cost import ceiling

CONTEXT = 256
LONGEST = 16  # draft length, where the best one is looked for


def run_times(profile: Report, requests: int) -> dict[int, float]:
    """Return the milliseconds of the target's run by rows of each request, as measured."""
    times = next(
        row["ms"]
        for row in profile["ms"]
        if (row["of"], row["requests"], row["context"]) == ("run", requests, CONTEXT)
    )
    return {int(rows): float(ms) for rows, ms in times.items()}


def run_time() -> str:
    """Time of a run by requests and rows."""
    profile = read_summary("profile")
    shown = (1, 2, 3, 5, 9)
    rows = []
    for requests in (1, 2, 4, 8):
        times = run_times(profile, requests)
        cells = [f"{times[n]:.0f} ms ({times[n] / times[1]:.2f})" for n in shown]
        rows.append([str(requests), *cells])
    header = ["requests", *(f"{n} row{'s' * (n > 1)} each" for n in shown)]
    note = f"SmolLM2-135M, {profile['dtype']}, context {CONTEXT}; in brackets T(rows) / T(1). "
    return markdown(header, rows) + "\n\n" + note + machine(profile["environment"])


def equation() -> str:
    """Tokens per run and speedups by acceptance rate."""
    rows = []
    for alpha in (0.3, 0.5, 0.7, 0.9):
        cells = [f"{expected_tokens_per_verify(alpha, 4):.2f}", f"{ceiling(alpha):.1f}"]
        for c in (0.05, 0.1, 0.3):
            best = optimal_k(alpha, c, LONGEST)
            cells.append(f"{speedup(alpha, best, c):.2f} at k = {best}" if best else "off")
        rows.append([f"{alpha}", *cells])
    header = ["α", "E at k = 4", "ceiling", "best at c = 0.05", "at c = 0.1", "at c = 0.3"]
    return markdown(header, rows)


def alphas() -> str:
    """What accepted / drafted reads where the acceptance rate is known."""
    lengths = (1, 2, 4, 8)
    rows = [
        [
            f"{alpha}",
            *(f"{(expected_tokens_per_verify(alpha, k) - 1) / k:.2f}" for k in lengths),
        ]
        for alpha in (0.5, 0.7, 0.8, 0.9)
    ]
    return markdown(["true α", *(f"reads at k = {k}" for k in lengths)], rows)


def drafters() -> str:
    """Cost, acceptance of the first token and speedup of each drafter, one stream."""
    sets = ("humaneval", "gsm8k", "mt_bench")
    lookups, heads = read_summary("drafters"), read_summary("heads")
    rows = []
    for report, method, label in (
        (lookups, "ngram, k = 4", "n-gram, k = 4"),
        (lookups, "suffix, k = 12", "suffix, k = 12"),
        (heads, "eagle3, k = 3", "EAGLE-3, k = 3"),
        (heads, "medusa, k = 2", "Medusa, k = 2"),
        (heads, "dflash, k = 3", "DFlash, k = 3"),
        (heads, "draft_model, k = 2", "small draft model, k = 2"),
        (lookups, "first 26 layers, k = 3", "26 of the target's 30 layers, k = 3"),
    ):
        cells = [
            next(
                row
                for row in report["rows"]
                if (row["dataset"], row["method"], row.get("streams", 1)) == (name, method, 1)
            )
            for name in sets
        ]
        cost = median(_cost(report, cell) for cell in cells)
        told = [
            f"{cell['acceptance_per_pos'][0][0]:.2f} → {cell['speedup']:.2f}×" for cell in cells
        ]
        rows.append([label, f"{cost:.3f}", *told])
    header = ["drafter", "c", "code (humaneval)", "arithmetic (gsm8k)", "chat (mt_bench)"]
    note = (
        "Share of rounds whose first draft token was accepted → speedup. SmolLM2-135M, bfloat16, "
        "one request; c is the time of one draft token over that of a plain step. "
    )
    return markdown(header, rows) + "\n\n" + note + machines(lookups, heads)


def machines(*reports: Report) -> str:
    """Name the machines of several measurements, each once."""
    return " ".join(dict.fromkeys(machine(report["environment"]) for report in reports))


def _cost(report: Report, cell: Report) -> float:
    """Return c of a row: as it was fitted, or drafting time over that of a plain step."""
    if "c" in cell:
        return float(cell["c"])
    off = next(
        row
        for row in report["rows"]
        if (row["dataset"], row["method"], row["streams"]) == (cell["dataset"], "off", 1)
    )
    return float(cell["draft_us_per_token"]) * 1e-6 * float(off["tokens_per_second"])


def load() -> str:
    """The same prompts and drafter on vLLM, at one request and at eight."""
    report = read_summary("plan_vllm")
    full = {(r["streams"], r["k"]): r["counters"] for r in report["runs"] if r["name"] == "full"}
    gains = {(row["streams"], row["k"]): row["speedup"] for row in report["rows"]}
    rows = []
    for k in (1, 2, 4, 6):
        cells = []
        for streams in (1, 8):
            counts = full[streams, k]
            length = 1 + counts["accepted_tokens"] / counts["drafts"]
            cells += [f"{length:.2f}", f"{gains[streams, k]:.2f}×"]
        rows.append([f"k = {k}", *cells])
    header = ["n-gram", "mean acceptance length, 1 request", "speedup", "8 requests", "speedup"]
    note = f"vLLM {report['vllm']} on the CPU, SmolLM2-135M, humaneval prompts. "
    return markdown(header, rows) + "\n\n" + note + machine(report["environment"])


def known() -> str:
    """The measured numbers that answers in an interview may lean on."""
    profile = read_summary("profile")
    one, eight = run_times(profile, 1), run_times(profile, 8)
    planned, trained = read_summary("plan_vllm"), read_summary("heads")
    plan = {(row["streams"], row["k"]): row["speedup"] for row in planned["rows"]}
    heads = {(row["dataset"], row["method"]): row for row in trained["rows"] if "c" in row}
    code, prose = (heads[name, "eagle3, k = 3"] for name in ("humaneval", "mt_bench"))
    rows = [
        ["five rows over one row, 1 request", f"{one[5] / one[1]:.2f} of the time"],
        ["five rows over one row, 8 requests", f"{eight[5] / eight[1]:.2f} of the time"],
        ["n-gram with k = 4 on vLLM's CPU build, 1 request", f"{plan[1, 4]:.2f}×"],
        ["the same, 8 requests", f"{plan[8, 4]:.2f}×"],
        ["EAGLE-3 with k = 3 on code", f"{code['speedup']:.2f}×"],
        ["the same on chat", f"{prose['speedup']:.2f}×"],
        ["cost c of its draft token, by time", f"{code['c']:.2f}"],
        ["the same, by bytes read", f"{code['c_by_bytes']:.2f}"],
    ]
    note = "SmolLM2-135M, bfloat16. "
    table = markdown(["measured in this repository", "number"], rows)
    return f"{table}\n\n{note}" + machines(profile, planned, trained)


# Table → what writes it.
COURSE: dict[str, Callable[[], str]] = {
    "run_time": run_time,
    "equation": equation,
    "alphas": alphas,
    "course_drafters": drafters,
    "load": load,
    "known": known,
}
