"""Exercise 10: the win condition from C_t, C_d and α, and the number of requests that flips it."""

from __future__ import annotations

from shared import machine, measured_profile, result, show

from fairdraft.economics.costs.profile import Profile
from fairdraft.economics.equations.acceptance import constant
from fairdraft.economics.equations.best_k import best_k
from fairdraft.economics.equations.cost import Roofline, speedups
from fairdraft.economics.equations.estimators import alpha_of_length

ALPHA, K, LONGEST = 0.5, 4, 8
CONTEXT = 256
LOADS = (1, 2, 4, 8)


def needed(cost: float, k: int) -> str:
    """Return the α from which on k draft tokens pay; a round costs so many plain steps."""
    return "none" if cost > k + 1 else f"{alpha_of_length(max(cost, 1.0), k):.2f}"


def price(profile: Profile, method: str) -> list[tuple[object, ...]]:
    """Return a row a load: times, λ, c, the α that is needed, speedup at K, best k, its speedup."""
    rows = list[tuple[object, ...]]()
    for n in LOADS:
        plain, verify = (1e3 * profile.step.seconds(n, r, CONTEXT) for r in (1, 1 + K))
        draft = 1e3 * profile.drafter(method).seconds(n, K, CONTEXT) / K
        costs = profile.costs(method, LONGEST, n, CONTEXT)
        gains = speedups(constant(ALPHA, LONGEST), costs)
        best = int(best_k(gains))
        times = f"{plain:.1f}", f"{verify:.1f}", f"{draft:.2f}"
        shares = f"{(verify / plain - 1) / K:.2f}", f"{draft / plain:.2f}"
        rows.append(
            (n, *times, *shares, needed(costs[1], 1), needed(costs[K], K), f"{gains[K]:.2f}",
             f"{gains[best]:.2f} ({best or 'off'})")
        )  # fmt: skip
    return rows


def main() -> None:
    """Print the condition at each measured load and context, then a large GPU's roofline."""
    profile = measured_profile()
    print(f"context {CONTEXT}, milliseconds ({machine(profile.environment)})")
    names = ("requests", "1 row", f"{1 + K} rows", "C_d", "λ", "c", "α for k=1", f"for k={K}")
    for method in ("ngram", "eagle3"):
        print(f"\n{method}; speedups at α = {ALPHA}")
        show((*names, f"k={K}", "best k"), price(profile, method))

    report = result("long_context")
    print(f"\nrequests from which on no draft pays ({machine(report['environment'])})")
    cases = list(report["rows"][0]["saturation"])
    show(
        ("context", *cases),
        [
            (f"{row['context']:,}", *(row["saturation"][case] or "-" for case in cases))
            for row in report["rows"]
        ],
    )
    print("\nroofline of an 8-billion-parameter model, 16 bits, on an H100 (3.35 TB/s, 989 TFLOPS)")
    gpu = Roofline(3.35e12, 989e12, 16.1e9, 8.03e9, kv_bytes=131_072, attention_size=32 * 32 * 128)
    print(f"  arithmetic takes as long as reading the weights at {gpu.knee:.0f} rows")
    for context in (0, 200, 1000):
        flips = gpu.saturation(ALPHA, 0.05, context)
        until = f"below {flips} requests" if flips else "with 4,096 requests too"
        print(f"  α = {ALPHA}, c = 0.05, context {context}: a draft pays {until}")


if __name__ == "__main__":
    main()
