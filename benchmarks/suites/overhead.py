"""What a step costs besides the model's run: this checkout against another, in turns.

    python -m benchmarks.suites.overhead --before PATH [--after PATH]

Scheduling, verifying, updating and proposing, in milliseconds a step, off and by method, at one
stream and at eight. Each checkout runs in a process of its own with its own entry points; they take
turns setting by setting, A B, then B A. Every round asks other prompts, under a salt of its own, so
that no index of past answers knows them.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.constants import HERE, NGRAM, ROOT
from benchmarks.interleave import rounds
from benchmarks.keeping import write_result
from benchmarks.prompts import chat_prompts
from benchmarks.workers.process import WorkerProcess
from fairdraft.models import load_checkpoint
from fairdraft.stats.side_by_side import estimated_median_ratio

OVERHEAD = ("schedule", "verify", "update", "propose")
METHODS: dict[str, dict[str, Any] | None] = {
    "off": None,
    "ngram": NGRAM,
    "suffix": {"method": "suffix", "num_speculative_tokens": 4},
    "auto": {"method": "auto", "num_speculative_tokens": 4},
}
TOKENS = {1: 48, 8: 24}  # by streams: new tokens of each text
SETTLE_SECONDS = 0.4  # in which the other process's threads stop waiting for work
SIDES = ("before", "after")

Times = dict[str, float]


def write_metadata(checkout: Path, folder: Path) -> None:
    """Write a checkout's name, version and entry points as if it were installed in a folder."""
    project = tomllib.loads((checkout / "pyproject.toml").read_text())["project"]
    info = folder / f"{project['name']}-{project['version']}.dist-info"
    info.mkdir()
    head = {"Metadata-Version": "2.1", "Name": project["name"], "Version": project["version"]}
    (info / "METADATA").write_text("".join(f"{key}: {value}\n" for key, value in head.items()))
    lines = []
    for group, entries in project.get("entry-points", {}).items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in entries.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")


def start(checkout: Path, folder: Path) -> WorkerProcess:
    """Start a worker that imports fairdraft from a checkout.

    Raises:
        RuntimeError: it imports another one.
    """
    write_metadata(checkout, folder)
    path = f"{folder}:{checkout}"
    script = str(HERE / "workers" / "overhead_worker.py")
    worker = WorkerProcess(sys.executable, [script], {"PYTHONPATH": path})
    found = Path(worker.answer()["fairdraft"])
    if checkout not in found.parents:
        worker.stop()
        raise RuntimeError(f"{found} was imported, which is not under {checkout}")
    return worker


def commit_of(checkout: Path) -> str:
    """Return the commit that a checkout is at, "-dirty" if files were changed."""
    command = ["git", "describe", "--always", "--exclude=*", "--abbrev=40", "--dirty"]
    return subprocess.run(command, cwd=checkout, capture_output=True, text=True).stdout.strip()


def time_checkouts(
    workers: dict[str, WorkerProcess],
    prompts: list[list[int]],
    methods: list[str],
    most: int,
    minutes: float,
) -> dict[tuple[str, int], dict[str, list[Times]]]:
    """Run every method and number of streams on both sides, round by round.

    Round 0 loads and warms up, and is not returned.

    Args:
        workers: by side.
        prompts: as token ids; each round takes the next ones.
        methods: keys of `METHODS`.
        most, minutes: as for `interleave.rounds`.
    """
    found: dict[tuple[str, int], dict[str, list[Times]]] = {
        (method, streams): {side: [] for side in SIDES} for method in methods for streams in TOKENS
    }
    for number in rounds(most, minutes):
        for place, ((method, streams), samples) in enumerate(found.items()):
            first = number * max(TOKENS) % len(prompts)
            chosen = (prompts + prompts)[first : first + streams]
            job = {
                "speculative": METHODS[method],
                "prompts": chosen,
                "max_tokens": TOKENS[streams],
                "salt": f"round-{number}-{streams}",
            }
            for side in SIDES if (number + place) % 2 else SIDES[::-1]:
                time.sleep(SETTLE_SECONDS)
                times = workers[side].ask(job)
                if number:
                    samples[side].append(times)
    return found


def overhead_ms(times: Times) -> float:
    """Return milliseconds a step outside the model's run."""
    return 1e3 * sum(times[verb] for verb in OVERHEAD) / times["num_steps"]


def compare(samples: dict[str, list[Times]]) -> dict[str, Any]:
    """Return medians of both sides, and the ratio after / before with its interval."""
    ms = {side: [overhead_ms(times) for times in samples[side]] for side in SIDES}
    ratio = estimated_median_ratio(ms["after"], ms["before"])
    row: dict[str, Any] = {"ratio": [ratio.value, ratio.low, ratio.high]}
    for side in SIDES:
        step = [sum(times.values()) - times["num_steps"] for times in samples[side]]
        shares = [
            sum(times[verb] for verb in OVERHEAD) / whole
            for times, whole in zip(samples[side], step, strict=True)
        ]
        row[f"{side}_ms"] = median(ms[side])
        row[f"{side}_share"] = median(shares)
        for verb in OVERHEAD:
            each = [1e3 * times[verb] / times["num_steps"] for times in samples[side]]
            row[f"{side}_{verb}_ms"] = median(each)
    return row


def main() -> None:
    """Measure, print a line a setting, and keep the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--before", type=Path, required=True, help="a checkout of fairdraft")
    parser.add_argument("--after", type=Path, default=ROOT, help="this one by default")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--rounds", type=int, default=12, help="at most")
    parser.add_argument("--minutes", type=float, default=5, help="after which no round begins")
    parser.add_argument("--name", default="overhead", help="of the result")
    options = parser.parse_args()
    methods = options.methods.split(",")
    checkouts = {side: getattr(options, side).resolve() for side in SIDES}
    prompts = chat_prompts(load_checkpoint("demo", "bfloat16", "cpu").tokenizer, 40)
    # Datasets take turns in a round, for their texts differ in how much is accepted.
    prompts = [prompts[i % 3 * 40 + i // 3] for i in range(len(prompts))]
    workers: dict[str, WorkerProcess] = {}
    with tempfile.TemporaryDirectory() as folder:
        try:
            for side, checkout in checkouts.items():
                own = Path(folder) / side
                own.mkdir()
                workers[side] = start(checkout, own)
            found = time_checkouts(workers, prompts, methods, options.rounds, options.minutes)
        finally:
            for worker in workers.values():
                worker.stop()
    rows = []
    for (method, streams), samples in found.items():
        rows.append({"method": method, "streams": streams, **compare(samples)})
        row, (value, low, high) = rows[-1], rows[-1]["ratio"]
        print(
            f"{method:7} {streams} streams: {row['before_ms']:.3f} → {row['after_ms']:.3f} ms "
            f"({row['before_share']:.1%} → {row['after_share']:.1%}), "
            f"{value:.3f} ({low:.3f}–{high:.3f})"
        )
    raw = [{"method": m, "streams": n, **samples} for (m, n), samples in found.items()]
    commits = {side: commit_of(checkout) for side, checkout in checkouts.items()}
    taken = len(next(iter(found.values()))["after"])
    summary = {"commits": commits, "batch_invariant": True, "rounds": taken, "rows": rows}
    write_result(options.name, summary, {"rows": raw})


if __name__ == "__main__":
    main()
