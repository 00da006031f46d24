"""Whether a diagnosis is as sure as it may be: fleets whose cause is known, and runs provoked here.

Made-up fleets are printed as five engines print them, with speculation and without, over 1 to 20
windows, and diagnosed. Numbers of the diagnosis were chosen with the first 500; what counts are the
others, which were drawn when it stood. Beside them: fleets with nothing wrong, and one real run a
cause (`provoked.py`).

    python -m benchmarks.suites.calibration [--fleets 750]
"""

from __future__ import annotations

import argparse
import gzip
import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.constants import DOCS, WORK
from benchmarks.fleets import judging
from benchmarks.fleets.causes import CAUSES
from benchmarks.fleets.draw import draw
from benchmarks.fleets.judging import COLUMNS, Case
from benchmarks.keeping import write_result
from benchmarks.suites.provoked import KEPT
from fairdraft.economics.planning.diagnosis import PAYS, diagnose
from fairdraft.peers import read

FLEETS, HEALTHY = 750, 40
PRINTED = WORK / "calibration"


def printed(seed: int, healthy: bool = False) -> dict[str, Any]:
    """Return a fleet's cause, engine, windows and files: drawn, or as they were drawn before."""
    folder = PRINTED / ("healthy" if healthy else "fleets")
    record = folder / f"{seed}.json"
    if not record.exists():
        fleet = draw(seed, healthy=healthy)
        on, off = fleet.save(folder)
        told = {"cause": fleet.cause, "engine": fleet.engine, "windows": fleet.windows}
        record.write_text(json.dumps({"seed": seed, **told, "on": on, "off": off}))
    found: dict[str, Any] = json.loads(record.read_text())
    return found


def real_runs() -> list[dict[str, Any]]:
    """Return what is said of the runs that were provoked on the demo model."""
    rows = []
    for cause in CAUSES:
        with tempfile.TemporaryDirectory() as folder:
            readings = []
            for name in ("on", "off"):
                packed = KEPT / f"{cause.replace(' ', '_')}-{name}.jsonl.gz"
                path = Path(folder) / f"{name}.jsonl"
                path.write_bytes(gzip.decompress(packed.read_bytes()))
                readings.append(read(path))
        found = diagnose(*readings)
        first = found.findings[0]
        share = [first.share.value, first.share.low, first.share.high]
        rows.append(
            {
                "cause": cause,
                "said": first.name,
                "confidence": first.confidence,
                "share": share,
                "speedup": [found.gain.value, found.gain.low, found.gain.high],
            }
        )
    return rows


def half(cases: list[Case]) -> dict[str, Any]:
    """Return a half's tables."""
    high, many = judging.said_high(cases)
    return {
        "fleets": len(cases),
        "table": judging.table(cases),
        "engines": judging.by_engine(cases),
        "high_of_many_windows": [high, many],
        "matrix": judging.matrix(cases),
    }


def picture(report: dict[str, Any]) -> None:
    """Draw the confusion matrix of the half that was not tuned on."""
    from matplotlib.figure import Figure

    counts = report["reported"]["matrix"]
    figure = Figure(figsize=(8.6, 5.0), layout="constrained")
    axes = figure.subplots()
    most = max(max(row) for row in counts)
    axes.imshow(counts, cmap="Blues", vmin=0, vmax=1.3 * most)
    for y, row in enumerate(counts):
        for x, count in enumerate(row):
            if count:
                colour = "white" if count > 0.8 * most else "black"
                axes.text(x, y, str(count), ha="center", va="center", color=colour, fontsize=10)
    axes.axvline(len(CAUSES) - 0.5, color="black", linewidth=1)
    axes.set_xticks(range(len(COLUMNS)), COLUMNS, rotation=35, ha="right")
    axes.set_yticks(range(len(CAUSES)), CAUSES)
    axes.set_xlabel("named first")
    axes.set_ylabel("what was wrong")
    axes.set_title(
        f"{report['reported']['fleets']} made-up fleets that nothing was tuned on; 'not told "
        "apart':\nthe file cannot show this cause, and the verdict says so",
        fontsize=10,
    )
    figure.savefig(DOCS / "confusion.png", dpi=130)


def main() -> None:
    """Diagnose all fleets, print the tables, and keep them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--fleets", type=int, default=FLEETS)
    fleets = parser.parse_args().fleets
    cases = [judging.judge(**printed(seed)) for seed in range(fleets)]
    reported = [case for case in cases if not case.tuned]
    sound = [printed(seed, healthy=True) for seed in range(HEALTHY)]
    verdicts = [diagnose(read(each["on"]), read(each["off"])) for each in sound]
    report: dict[str, Any] = {
        "columns": list(COLUMNS),
        "causes": list(CAUSES),
        "reported": half(reported),
        "tuned": half([case for case in cases if case.tuned]),
        "healthy": {
            "fleets": len(verdicts),
            "pays": sum(each.findings[0].name == PAYS for each in verdicts),
            "open": sum(each.is_open for each in verdicts),
        },
        "real": real_runs(),
    }
    for row in report["reported"]["table"]:
        print("{confidence:7} {right} of {verdicts}".format(**row))
    print("high with many windows:", *report["reported"]["high_of_many_windows"])
    for row in report["real"]:
        print("{cause:20} {said} ({confidence})".format(**row))
    picture(report)
    write_result("calibration", report, {"cases": [asdict(case) for case in cases]})


if __name__ == "__main__":
    main()
