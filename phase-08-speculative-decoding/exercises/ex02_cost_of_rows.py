"""Exercise 2: what a run takes by its number of rows, measured, and the arithmetic behind it."""

from __future__ import annotations

from shared import machine, measured_profile, result, show

CONTEXT = 128  # tokens of each request before the run
ROWS = (1, 2, 3, 5, 9)
LOADS = (1, 2, 4, 8)


def main() -> None:
    """Print times of runs, then what a run reads and what it multiplies."""
    profile = measured_profile()
    print(f"one run of {profile.model}, {profile.dtype}, context {CONTEXT}, milliseconds")
    print(f"({machine(profile.environment)})\n")
    times = {n: [profile.run.seconds(n, r, CONTEXT) for r in ROWS] for n in LOADS}
    names = [f"{n} request{'s' * (n > 1)}" for n in LOADS]
    lines = [
        (f"{rows} row{'s' * (rows > 1)} each", *(f"{1e3 * times[n][i]:.1f}" for n in LOADS))
        for i, rows in enumerate(ROWS)
    ]
    growth = (times[n][ROWS.index(5)] / times[n][0] for n in LOADS)
    lines.append(("5 rows over 1", *(f"{each:.2f}" for each in growth)))
    show(("", *names), lines)

    prefill = profile.prefill
    assert prefill is not None
    speeds = [2 * profile.parameters * r / prefill.seconds(1, r, r) for r in prefill.rows]
    row = 2e3 * profile.parameters / max(speeds)  # milliseconds
    reads = result("step_time")["median_ms"]["bfloat16 sum"], 1e3 * times[1][0]
    print(f"\na run reads {profile.weight_bytes / 1e6:.0f} MB of weights, whatever its rows:")
    print("  {:.1f} ms for a plain sum over them, {:.1f} ms for a run of one row".format(*reads))
    print(f"a row multiplies {profile.parameters / 1e6:.1f} million weights:")
    print(f"  {row:.2f} ms at {max(speeds) / 1e9:.0f} GFLOPS, which the best prefill reaches")
    low, high = (f"{read / row:.0f}" for read in reads)
    print(f"so the arithmetic takes as long as reading at {low} to {high} rows, requests together")


if __name__ == "__main__":
    main()
