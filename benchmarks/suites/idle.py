"""What `auto` costs where nothing pays: seconds it takes of steps in which it drafts nothing.

Texts sampled at temperature 1.5 repeat nothing, and no drafter foresees them. `auto` over each
method, and as a user gets it, writes so many at once; of the steps in which it drafts nothing, the
time that goes to asking lookups, deciding, and keeping what a head may need later is measured, of
all of them and behind the first 64.

    python -m benchmarks.suites.idle
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.keeping import split_rows, write_result
from benchmarks.suites.controller_grid import HOT, METHODS, configuration, load
from fairdraft import LLM, SamplingParams
from fairdraft.bench.datasets import load_prompts
from fairdraft.proposers.auto import AutoProposer
from fairdraft.telemetry import StepTimes

STREAMS = (1, 4, 8)
TOKENS = 320
BEGIN = 64  # idle steps


def idle_steps(llm: LLM, streams: int) -> list[tuple[float, float]]:
    """Seconds of each step that drafts nothing, and of these what the proposer took."""
    engine, proposer = llm.engine, llm.engine.proposer
    assert isinstance(proposer, AutoProposer)
    taken = proposer.autopilot.decisions
    for i, text in enumerate(load_prompts("mt_bench", 40)[-streams:]):
        params = SamplingParams(temperature=HOT, max_tokens=TOKENS, ignore_eos=True, seed=i)
        engine.add_request(llm.encode_chat([{"role": "user", "content": text}]), params)
    found = []
    while engine.has_unfinished_requests:
        before = vars(engine.times).copy()
        decided, off = sum(taken.values()), taken["off", 0]
        outputs = engine.step()
        times = StepTimes(**{name: now - before[name] for name, now in vars(engine.times).items()})
        decisions = sum(taken.values()) - decided
        decodes = len(outputs) == streams and all(o.request.num_output_tokens > 1 for o in outputs)
        if decodes and decisions == taken["off", 0] - off == streams:
            found.append((times.total, times.propose))
    return found


def main() -> None:
    rows: list[dict[str, Any]] = []
    for method in (*METHODS, "auto"):
        llm = load(configuration(method))
        for streams in STREAMS:
            llm.engine.scheduler.max_num_seqs = streams
            total, propose = np.array(idle_steps(llm, streams)).T
            row = {
                "method": method,
                "streams": streams,
                "idle_steps": len(total),
                "step_ms": float(np.median(total) * 1e3),
                "share": float(propose.sum() / total.sum()),
                "later_share": float(propose[BEGIN:].sum() / total[BEGIN:].sum()),
                "propose_ms": float(np.median(propose) * 1e3),
                "samples_ms": [round(1e3 * seconds, 4) for seconds in propose],
            }
            rows.append(row)
            print({name: value for name, value in row.items() if name != "samples_ms"}, flush=True)
        llm.close()
    brief, samples = split_rows(rows, "samples_ms")
    write_result("idle", {"tokens": TOKENS, "begin": BEGIN, "rows": brief}, {"rows": samples})


if __name__ == "__main__":
    main()
