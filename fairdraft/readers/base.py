"""What an engine said of itself, and which reader understands a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fairdraft.errors import ReadingError


@dataclass(frozen=True)
class Reading:
    """Counts and speeds over a stretch of serving.

    Args:
        source: what was read, for people.
        rounds: verification runs that had a draft; 0 without speculation.
        drafted: draft tokens.
        accepted: those that stood.
        accepted_per_position: [k] rounds in which each position stood.
        tokens_per_second: generated, all requests together; None if it is not said.
        requests: mean number running; None if it is not said.
        step_seconds: of one engine step, where it was measured.
        exact_rounds: whether rounds were counted, or worked out from k.
    """

    source: str
    rounds: float = 0
    drafted: int = 0
    accepted: int = 0
    accepted_per_position: tuple[float, ...] = ()
    tokens_per_second: float | None = None
    requests: float | None = None
    step_seconds: float | None = None
    exact_rounds: bool = True

    @property
    def speculates(self) -> bool:
        """Whether anything was drafted."""
        return self.drafted > 0

    @property
    def k(self) -> float:
        """Mean draft length."""
        return self.drafted / self.rounds if self.rounds else 0.0

    @property
    def acceptance_rate(self) -> float:
        """Accepted / drafted, as engines print it."""
        return self.accepted / self.drafted if self.drafted else 0.0

    @property
    def acceptance_length(self) -> float:
        """Mean acceptance length, the bonus token included; 1 without speculation."""
        return 1 + self.accepted / self.rounds if self.rounds else 1.0

    @property
    def step_is_measured(self) -> bool:
        """Whether `step_time` was measured, and not worked out from throughput."""
        return self.step_seconds is not None

    @property
    def step_time(self) -> float | None:
        """Seconds of a step: measured, or requests · acceptance length / throughput.

        The latter mixes prefill and idle time into it.
        """
        if self.step_seconds is not None:
            return self.step_seconds
        if not self.tokens_per_second or self.requests is None:
            return None
        return self.requests * self.acceptance_length / self.tokens_per_second


def read(path: Path) -> Reading:
    """Read a file, whichever kind it is.

    Args:
        path: a vLLM log, or a result of `vllm bench serve`.

    Raises:
        ReadingError: it is not there, or no reader understands it.
    """
    from fairdraft.readers import vllm

    try:
        text = path.read_text("utf-8", errors="replace")
    except OSError as error:
        raise ReadingError(
            f"{str(path)!r} cannot be read ({error.strerror}): name a file"
        ) from None
    for reader in (vllm.read_bench, vllm.read_log):
        if (found := reader(text, str(path))) is not None:
            return found
    raise ReadingError(
        f"{str(path)!r} is nothing that is known here: give a vLLM log with 'Engine 000: Avg "
        "prompt throughput …' lines, or the JSON of `vllm bench serve`"
    )
