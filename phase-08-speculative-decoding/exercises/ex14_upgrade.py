"""Exercise 14: α out of production logs before and after a drafter upgrade, and what it is worth.

The logs are made up, in the form in which vLLM writes them. Name a folder to keep them.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from shared import show

from fairdraft.economics import expected_tokens_per_verify
from fairdraft.economics.costs.step_costs import StepCosts
from fairdraft.economics.equations.acceptance import constant
from fairdraft.economics.equations.estimators import alpha_of_length
from fairdraft.economics.planning.acceptance import Acceptance
from fairdraft.economics.planning.diagnosis import diagnose
from fairdraft.economics.planning.planner import plan
from fairdraft.economics.planning.upgrade import upgrades
from fairdraft.peers import read

REQUESTS, WINDOW, WINDOWS = 8, 10, 6  # at once; seconds between two lines; lines
PRICE, TOKENS = 2.0, 10e9  # dollars an hour of the machine; tokens a month
# Of each log: the α that its drafter truly has, k, and seconds of a step.
TRUTH = {"off": (0.0, 0, 0.020), "before": (0.6, 3, 0.0248), "after": (0.7, 5, 0.028)}
ENGINE = (
    "INFO 06-01 12:00:00 [loggers.py:257] Engine 000: Avg prompt throughput: 3.0 tokens/s, Avg "
    "generation throughput: {rate:.1f} tokens/s, Running: {requests} reqs, Waiting: 0 reqs\n"
)
SPECULATION = (
    "INFO 06-01 12:00:00 [metrics.py:120] SpecDecoding metrics: Mean acceptance length: "
    "{length:.2f}, Accepted throughput: {good:.2f} tokens/s, Drafted throughput: {speed:.2f} "
    "tokens/s, Accepted: {accepted} tokens, Drafted: {drafted} tokens, Per-position acceptance "
    "rate: {rates}, Avg Draft acceptance rate: {share:.1f}%\n"
)


def log(alpha: float, k: int, step: float) -> str:
    """Return the log of a server whose steps take so long."""
    rounds, survivals = round(REQUESTS * WINDOW / step), constant(alpha, k)
    accepted, drafted = round(rounds * float(survivals.sum())), rounds * k
    text = ENGINE.format(rate=(rounds + accepted) / WINDOW, requests=REQUESTS)
    if k:
        text += SPECULATION.format(
            length=1 + accepted / rounds, good=accepted / WINDOW, speed=drafted / WINDOW,
            accepted=accepted, drafted=drafted, share=100 * accepted / drafted,
            rates=", ".join(f"{each:.3f}" for each in survivals),
        )  # fmt: skip
    return "".join(text.replace(":00 [", f":{WINDOW * i:02} [") for i in range(WINDOWS))


def main() -> None:
    """Write the logs, read them as if they were production's, and price the upgrade."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(sys.argv[1] if len(sys.argv) > 1 else scratch)
        for name, truth in TRUTH.items():
            (folder / f"{name}.log").write_text(log(*truth))
        off, before, after = (read(folder / f"{name}.log") for name in TRUTH)
    show(
        ("", "k", "accepted / drafted", "length", "α", "ms a step", "tokens/s", "speedup"),
        [
            (
                name,
                f"{run.k:.0f}",
                f"{run.acceptance_rate:.1%}",
                f"{run.acceptance_length:.2f}",
                f"{alpha_of_length(run.acceptance_length, round(run.k)):.2f}",
                f"{1e3 * (run.step_time or 0):.1f}",
                f"{run.tokens_per_second:.0f}",
                f"{diagnose(run, off).speedup:.2f}",
            )
            for name, run in (("before", before), ("after", after))
        ],
    )
    costs = StepCosts.of_sweep([off, before, after], "eagle3")
    plans = [plan(costs, Acceptance.of(run), (3, 5), [REQUESTS]) for run in (before, after)]
    (found,) = upgrades(*plans)
    old, new = found.before.cell, found.after.cell
    gain, saved = found.gain, found.saved(PRICE)
    print(f"\nk = {old.k} → {new.k}: {old.tokens_per_second.value:.0f} → ", end="")
    print(f"{new.tokens_per_second.value:.0f} tokens/s")
    print(f"1. {gain.value - 1:+.1%} tokens a second ({gain.low - 1:+.1%} to {gain.high - 1:+.1%})")
    print(f"2. ${saved:.3f} saved on a million tokens at ${PRICE:.2f} an hour:", end=" ")
    print(f"${saved * TOKENS / 1e6:,.0f} a month at {TOKENS / 1e9:.0f} billion tokens")
    alphas = (alpha_of_length(run.acceptance_length, round(run.k)) for run in (before, after))
    worse, better = (expected_tokens_per_verify(alpha, 3) for alpha in alphas)
    print(f"of that, the better drafter at the old k: {better / worse - 1:+.1%}")


if __name__ == "__main__":
    main()
