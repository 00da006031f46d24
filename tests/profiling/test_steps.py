"""Steps verify what they say they do."""

from __future__ import annotations

import pytest
import torch

from fairdraft.models import ModelRunner
from fairdraft.profiling import Filler, build_shape, steps


def test_what_runs_is_what_it_says(shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step verifies the rows that its sample is filed under, behind the context it names."""
    torch.manual_seed(0)
    runner = ModelRunner(build_shape(shape, "float32"), name="shape")
    ran: list[tuple[int, int, list[int]]] = []
    run = runner.run

    def watched(batch, layers=()):  # type: ignore[no-untyped-def]
        counts = set(batch.row_counts)
        assert len(counts) == 1
        ran.append((batch.num_requests, counts.pop(), list(batch.context_lens)))
        return run(batch, layers)

    monkeypatch.setattr(runner, "run", watched)
    engine = steps.rejecting_engine(runner, Filler(3), 2, 3, 16)
    for seed in range(5):
        found = steps.steps(engine, 2, 16, (1, 3), seed)
        proposed = [k for k, _ in found]
        assert sorted(proposed) == [0, 0, 1, 3]
        assert proposed[-1] == 0
        # The two steps before: one that begins, and the first, which has nothing to verify.
        assert [rows for _, rows, _ in ran] == [1, 1, *(1 + k for k in proposed[:-1])]
        assert {requests for requests, _, _ in ran} == {2}
        firsts = [contexts[0] for _, _, contexts in ran]
        assert firsts == list(range(15, 15 + len(ran)))  # all drafts were rejected
        ran.clear()
    assert not engine.has_unfinished_requests
