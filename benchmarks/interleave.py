"""Engines that answer the same prompts in turns, and how their speeds compare.

The machine is slow at some times and quick at others; engines that take turns see the same times. A
turn is a few steps, made two at a time between those of all the others.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from time import monotonic, perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairdraft import LLM, SamplingParams
from fairdraft.bench.measurement import record
from fairdraft.stats.intervals import Estimate
from fairdraft.stats.side_by_side import median_ratio, ratio_of_rates, unstalled
from fairdraft.telemetry import SpecCounters, StepTimes

FloatArray = NDArray[np.float64]
LEAST_ROUNDS = 3  # that a median is taken of, however slow the machine


def rounds(most: int, minutes: float) -> Iterator[int]:
    """Yield the number of each round: 0 warms up and does not count, then 1, 2, … up to `most`.

    Args:
        most: rounds that count.
        minutes: no round begins after so long, once `LEAST_ROUNDS` were made.
    """
    begun = monotonic()
    for number in range(most + 1):
        if number > LEAST_ROUNDS and monotonic() - begun > 60 * minutes:
            return
        yield number
        print(f"round {number} of {most} done", file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Job:
    """A prompt, and the sampling parameters of its answer."""

    prompt: list[int]
    params: SamplingParams


class Answering:
    """Prompts of a cell under way in one engine, until fewer are left than run at once.

    Steps that read a prompt do not count: every setting pays the same for them.

    Args:
        llm: whose engine.
        made: at least `streams` jobs.
        streams: texts at once; the others wait.
        steps: of a turn.
    """

    def __init__(self, llm: LLM, made: Sequence[Job], streams: int, steps: int) -> None:
        self.engine, self.streams, self.steps = llm.engine, streams, steps
        self.engine.scheduler.max_num_seqs = streams
        self.requests = [self.engine.add_request(list(job.prompt), job.params) for job in made]
        self.before = asdict(self.engine.times)
        self.turns: list[list[float]] = []  # seconds, tokens and steps of each turn
        self.decoding = StepTimes()  # of the steps that count
        self.drafted = 0  # tokens that those steps verified
        self._gone = 0

    @property
    def left(self) -> int:
        """Number of texts that are not finished."""
        return sum(request.finish_reason is None for request in self.requests)

    def go_on(self, steps: int) -> bool:
        """Take a few steps more, part of a turn, and return whether there is more to do."""
        while steps and self.left >= self.streams:
            before = asdict(self.engine.times)
            start = perf_counter()
            outputs = self.engine.step()
            taken = perf_counter() - start
            if self._gone % self.steps == 0:
                self.turns.append([0.0, 0, 0])
            steps, self._gone = steps - 1, self._gone + 1
            begun = any(len(o.token_ids) == o.request.num_output_tokens for o in outputs)
            running = self.engine.scheduler.running
            if not begun and all(request.num_output_tokens for request in running):
                gained = sum(len(output.token_ids) for output in outputs)
                for place, more in enumerate((taken, gained, 1)):
                    self.turns[-1][place] += more
                self.decoding.add(_since(before, self.engine.times))
                self.drafted += sum(len(output.draft) for output in outputs)
        return self.left >= self.streams

    def result(self) -> dict[str, Any]:
        """Return what was measured, and abort what is under way."""
        counters = SpecCounters()
        for request in self.requests:
            counters.merge(request.counters)
            self.engine.abort(request.request_id)
        return {
            "turns": self.turns,
            "counters": record(counters),
            "times": record(_since(self.before, self.engine.times)),
            "decoding": {**record(self.decoding), "drafted": self.drafted},
        }


def in_turns(
    under_way: Sequence[Answering], visit: int, before_turns: Callable[[], None] = lambda: None
) -> None:
    """Let engines take turns until each has come to its end.

    Args:
        under_way: an engine each, with turns of equal length.
        visit: steps that an engine takes before the next one's: turns are parted into these.
        before_turns: called before every engine's next turn.
    """
    active, gone = list(under_way), 0
    while active:
        if gone % under_way[0].steps == 0:
            before_turns()
        active = [each for each in active if each.go_on(visit)]
        gone += visit


def _since(before: dict[str, Any], times: StepTimes) -> StepTimes:
    """Return what was added to an engine's times."""
    after = asdict(times)
    return StepTimes(**{name: after[name] - before[name] for name in before})


def turns(run: dict[str, Any]) -> FloatArray:
    """Return [turns, 3]: seconds, tokens and steps of a run's turns, without stalled ones."""
    found = np.array([turn for turn in run["turns"] if turn[2]])
    ran: FloatArray = found[unstalled(found[:, 0] / found[:, 2])]
    return ran


def rate(run: dict[str, Any]) -> float:
    """Return a run's tokens a second."""
    seconds, tokens, _ = turns(run).sum(0)
    return float(tokens / seconds)


def speedup(one: dict[str, Any], other: dict[str, Any]) -> Estimate:
    """Divide one run's tokens a second by another's; the interval is over other turns."""
    (ours, made, _), (theirs, there, _) = turns(one).T, turns(other).T
    return ratio_of_rates((made.sum(), there.sum()), (ours, theirs))


def paired_speedup(one: dict[str, Any], off: dict[str, Any]) -> float:
    """Divide tokens a second of a run by another's, step times compared turn by turn: the median.

    Turns of the same number were made in the same seconds; a stall in one of them is outvoted.
    """
    ours, theirs = (np.array(run["turns"], np.float64) for run in (one, off))
    tokens_a_step = [run[:, 1].sum() / run[:, 2].sum() for run in (ours, theirs)]
    both = min(len(ours), len(theirs))
    ours, theirs = ours[:both], theirs[:both]
    counts = (ours[:, 2] > 0) & (theirs[:, 2] > 0)
    step, plain = (run[counts, 0] / run[counts, 2] for run in (ours, theirs))
    return float(tokens_a_step[0] / tokens_a_step[1] * median_ratio(plain, step))
