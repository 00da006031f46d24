"""One run measured: what it generated, and only what it did itself."""

from __future__ import annotations

from fairdraft import LLM, SamplingParams
from fairdraft.bench.measurement import Measurement, measure, record

PROMPT = [5, 6, 7, 5, 6, 7, 5, 6]
PARAMS = SamplingParams(temperature=0, max_tokens=8, ignore_eos=True)


def test_runs_are_measured_apart_and_add_up(demo: LLM) -> None:
    runs = [measure(demo, [PROMPT] * n, PARAMS) for n in (1, 2)]
    assert [run.num_tokens for run in runs] == [8, 16]
    assert [run.counters.num_emitted_tokens for run in runs] == [8, 16]
    whole = Measurement()
    for run in runs:
        assert 0 < run.times.run <= run.times.total <= run.seconds
        whole.add(run)
    assert (whole.num_tokens, whole.times.num_steps) == (24, sum(r.times.num_steps for r in runs))
    assert whole.tokens_per_second == 24 / whole.seconds
    assert record(whole.counters)["tokens_per_step"] == 1
