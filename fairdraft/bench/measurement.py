"""One timed run of an `LLM`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from time import perf_counter
from typing import TYPE_CHECKING, Any

from fairdraft.telemetry import SpecCounters, StepTimes

if TYPE_CHECKING:
    from fairdraft.config import SamplingParams
    from fairdraft.llm import LLM


@dataclass
class Measurement:
    """Seconds that a run took, and what it did in them.

    Args:
        seconds: wall clock, prefill included.
        num_tokens: tokens generated.
        counters: drafted and accepted.
        times: seconds in each verb of the steps.
    """

    seconds: float = 0.0
    num_tokens: int = 0
    counters: SpecCounters = field(default_factory=SpecCounters)
    times: StepTimes = field(default_factory=StepTimes)

    @property
    def tokens_per_second(self) -> float:
        """Output tokens per second of wall clock."""
        return self.num_tokens / self.seconds if self.seconds else 0.0

    def add(self, other: Measurement) -> None:
        """Add another run to this one."""
        self.seconds += other.seconds
        self.num_tokens += other.num_tokens
        self.counters.merge(other.counters)
        self.times.add(other.times)


def measure(
    llm: LLM,
    prompts: Sequence[Sequence[int]],
    params: SamplingParams | Sequence[SamplingParams],
    cache_salt: str | None = None,
) -> Measurement:
    """Generate for all prompts at once and measure it.

    Args:
        llm: the engine.
        prompts: token ids of each.
        params: for all prompts, or one each.
        cache_salt: cached prefixes and past answers are shared with runs of the same salt alone; a
            salt that no run had before makes the engine forget what it answered to these prompts.
    """
    salted = {} if cache_salt is None else {"cache_salt": cache_salt}
    inputs = [{"prompt_token_ids": list(prompt), **salted} for prompt in prompts]
    before = asdict(llm.times)
    start = perf_counter()
    outputs = llm.generate(inputs, params)
    seconds = perf_counter() - start
    after = asdict(llm.times)
    done = Measurement(seconds, times=StepTimes(**{n: after[n] - before[n] for n in before}))
    for output in outputs:
        done.num_tokens += sum(len(each.token_ids) for each in output.outputs)
        done.counters.merge(output.spec)
    return done


def record(counts: SpecCounters | StepTimes) -> dict[str, Any]:
    """Return counts, and the figures that follow from them, for JSON."""
    derived = [name for name, each in vars(type(counts)).items() if isinstance(each, property)]
    return {f.name: getattr(counts, f.name) for f in fields(counts)} | {
        name: getattr(counts, name) for name in derived
    }
