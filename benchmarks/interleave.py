"""Engines that answer the same prompts in turns, and how their speeds compare.

The machine is slow at some times and quick at others; engines that take turns see the same times. A
turn is a few steps, made two at a time between those of all the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairdraft import LLM, SamplingParams
from fairdraft.bench.measurement import record
from fairdraft.telemetry import SpecCounters, StepTimes

FloatArray = NDArray[np.float64]
STALL = 3.0  # times the median pace


@dataclass(frozen=True)
class Job:
    """A prompt and how it is answered."""

    prompt: list[int]
    params: SamplingParams


class Answering:
    """A cell's prompts under way in one engine; writes until fewer are left than run at once.

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
        self._gone = 0

    @property
    def left(self) -> int:
        """Texts that are not finished."""
        return sum(request.finish_reason is None for request in self.requests)

    def go_on(self, steps: int) -> bool:
        """A few steps more, part of a turn; whether there is more to do."""
        while steps and self.left >= self.streams:
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
        return self.left >= self.streams

    def result(self) -> dict[str, Any]:
        """What was measured; the rest is dropped."""
        after, counters = asdict(self.engine.times), SpecCounters()
        for request in self.requests:
            counters.merge(request.counters)
            self.engine.abort(request.request_id)
        times = StepTimes(**{name: after[name] - self.before[name] for name in self.before})
        return {
            "turns": self.turns,
            "counters": record(counters),
            "times": record(times),
        }


def turns(run: dict[str, Any]) -> FloatArray:
    """[turns, 3]: seconds, tokens and steps of a run's turns, those left out in which it stalled.

    A machine that is shared stands still for seconds now and then. No draft makes eight steps take
    three times as long as they do in the median.
    """
    found = np.array([turn for turn in run["turns"] if turn[2]])
    paces = found[:, 0] / found[:, 2]
    kept: FloatArray = found[paces < STALL * np.median(paces)]
    return kept


def rate(run: dict[str, Any]) -> float:
    """Tokens a second."""
    seconds, tokens, _ = turns(run).sum(0)
    return float(tokens / seconds)


def interval(one: dict[str, Any], other: dict[str, Any], draws: int = 2000) -> list[float]:
    """Tokens a second of one run over another's, and 95% of what other turns would have made it.

    What was written is the same each time; what the turns took is not.
    """
    rng = np.random.default_rng(0)

    def rates(run: dict[str, Any]) -> FloatArray:
        seconds, tokens, _ = turns(run).T
        picks = rng.integers(0, len(seconds), (draws, len(seconds)))
        found: FloatArray = tokens.sum() / seconds[picks].sum(1)
        return found

    low, high = np.quantile(rates(one) / rates(other), [0.025, 0.975])
    return [rate(one) / rate(other), float(low), float(high)]


def paired(one: dict[str, Any], off: dict[str, Any]) -> float:
    """Tokens a second of a run over another's, step times compared turn by turn: the median.

    Turns of the same number were made in the same seconds; a stall in one of them is outvoted.
    """
    ours, theirs = (np.array(run["turns"], np.float64) for run in (one, off))
    tokens_a_step = [run[:, 1].sum() / run[:, 2].sum() for run in (ours, theirs)]
    both = min(len(ours), len(theirs))
    ours, theirs = ours[:both], theirs[:both]
    counts = (ours[:, 2] > 0) & (theirs[:, 2] > 0)
    step, plain = (run[counts, 0] / run[counts, 2] for run in (ours, theirs))
    return float(tokens_a_step[0] / tokens_a_step[1] * np.median(plain / step))
