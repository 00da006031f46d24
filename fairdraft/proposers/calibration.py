"""Costs of runs measured in a second when a model loads, for those who bring no profile."""

from __future__ import annotations

from time import perf_counter

from fairdraft.economics.costs.cost_surface import CostSurface, Point
from fairdraft.models import FlatBatch, Runner

REQUESTS = (1, 4, 8)
CONTEXT = 128
ROUNDS = 3  # the first warms up
BLOCK = 16
GUESS = (0.05, 0.1)  # of a plain step: what drafting costs at all, and each token


def calibrate(runner: Runner, k: int) -> CostSurface:
    """Return the seconds of a run over requests and rows; a second or two on a laptop's CPU.

    The runner's KV is made anew. Scheduling and verification are not in it.

    Args:
        runner: the target.
        k: longest draft.
    """
    lengths = sorted({0, 1, (k + 1) // 2, k})
    context = max(min(CONTEXT, runner.max_model_len - k - 1), 1)
    room = -(-(context + k + 1) // BLOCK)
    runner.allocate(max(REQUESTS) * room * BLOCK, BLOCK)
    samples: dict[tuple[int, int], list[float]] = {}
    for number in range(ROUNDS):
        for requests in REQUESTS:
            for length in lengths:
                batch = _batch(runner, requests, 1 + length, context, room)
                start = perf_counter()
                float(runner.run(batch).logits[0, 0])  # waits for a GPU too
                if number:
                    samples.setdefault((requests, 1 + length), []).append(perf_counter() - start)
    points = (Point(b, n, context, (min(each),)) for (b, n), each in samples.items())
    return CostSurface(points, "the calibration")


def guessed_drafter(step: CostSurface, k: int) -> CostSurface:
    """Return the seconds of drafting, guessed from the target's; the first drafts correct it."""
    fixed, each = GUESS
    context = step.contexts[0]
    return CostSurface(
        (
            Point(b, n, context, (step.seconds(b, 1, context) * (fixed + each * n),))
            for b in step.requests
            for n in range(1, k + 1)
        ),
        "the guess",
    )


def _batch(runner: Runner, requests: int, rows: int, context: int, room: int) -> FlatBatch:
    """Return a batch of rows behind a context of zeros, `room` blocks a request."""
    total = requests * rows
    tokens = [i * 37 % runner.vocab_size for i in range(total)]
    return FlatBatch.of(
        [tokens[i * rows : (i + 1) * rows] for i in range(requests)],
        [context] * requests,
        [range(i * room, (i + 1) * room) for i in range(requests)],
        BLOCK,
        runner.device,
        logit_rows=range(total),
    )
