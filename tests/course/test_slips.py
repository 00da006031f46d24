"""The labs' tests against slips that a student makes: each must fail."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

LABS = Path(__file__).parents[2] / "phase-08-speculative-decoding" / "labs"
SLIPS = {
    "lab-01": [
        ("range(len(text) - n - 1, -1, -1)", "range(len(text) - n - 1, 0, -1)"),
        ("range(len(text) - n - 1, -1, -1)", "range(len(text) - 2 * n, -1, -1)"),
        ("return stand, argmax[stand]", "return stand, argmax[-1]"),
        ("result.num_drafted += len(draft)", "result.num_drafted += k"),
        ("result.num_accepted += min(stand, len(gained))", "result.num_accepted += stand"),
        ("min(k, room - 1), n_max, n_min)", "min(k, room - 1))"),
        ("min(k, room - 1)", "k"),
        ("propose_ngram(text, min", "propose_ngram(text[:-1], min"),
    ],
    "lab-02": [
        ("+ bonus", ""),
        ("counters.num_accepted_tokens / counters.num_draft_tokens", "1.0"),
        ("sum(drafted >= place for drafted, _ in steps)", "len(steps)"),
        (
            "max((drafted for drafted, _ in steps), default=0)",
            "max((a for _, a in steps), default=0)",
        ),
        ("for i in sorted(per_pos)", "for i in sorted(per_pos, key=str)"),
        ("found.get(name, 0) + ", ""),
    ],
    "lab-03": [
        (
            "residual(p, q), rng.exponential(size=(count, len(p)))",
            "p, rng.exponential((count, len(p)))",
        ),
        ("law = residual(p, q)", "law = p"),
        ("return [*before, int(race(law", "return [*draft[:-1], int(race(law"),
        (".max())\n", ".mean())\n"),
        ("q = drafter(tuple(draft))", "q = drafter(tuple(draft[-1:]))"),
        ("p = target(tuple(draft))", "p = target(tuple(draft[-1:]))"),
        (
            "return more / total if total > 0 else p",
            "return more / total if total else more + 1 / len(p)",
        ),
    ],
    "lab-04": [
        ("(k * c + 1)", "(c + 1)"),
        ("(k * c + 1)", "((k + 1) * c + 1)"),
        ("range(k_max + 1)", "range(k_max)"),
        ("(alive * alphas) @ transitions", "transitions @ (alive * alphas)"),
        ("return max(alpha - c, 0.0)", "return alpha - c"),
        ("k_max: int = 16", "k_max: int = 8"),
        ("alpha ** (k + 1)", "alpha**k"),
        ("tested = num_accepted + num_rejections", "tested = num_drafted"),
    ],
}


# One process for all slips of a lab: most of a short run of pytest is its start.
GRADER = """
import os, sys, pytest
for slip in sys.argv[2:]:
    os.environ["LAB_IMPL"] = slip
    code = pytest.main([sys.argv[1], "-qx", "-p", "no:cacheprovider", "--import-mode=importlib"])
    print(f"graded {slip} {int(code)}")
"""


@pytest.mark.parametrize("lab", SLIPS)
def test_every_slip_is_seen(lab: str, tmp_path: Path) -> None:
    (folder,) = LABS.glob(f"{lab}-*")
    copy = tmp_path / folder.name
    shutil.copytree(folder, copy)
    shutil.copy(LABS / "conftest.py", tmp_path)
    solution = (folder / "solution.py").read_text()
    names = [f"slip{number}" for number in range(len(SLIPS[lab]))]
    for name, (right, wrong) in zip(names, SLIPS[lab], strict=True):
        assert right in solution, f"the solution has changed: {right!r} is gone"
        (copy / f"{name}.py").write_text(solution.replace(right, wrong))
    command = [sys.executable, "-c", GRADER, str(copy), *names]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    for name, (right, wrong) in zip(names, SLIPS[lab], strict=True):
        assert f"graded {name} 1" in run.stdout, f"{wrong!r} for {right!r}:\n{run.stdout}"
