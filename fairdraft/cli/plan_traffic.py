"""What `fairdraft plan` is told of the traffic, and what it answers for a rate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from fairdraft.cli.plan_report import length_name, titled_table
from fairdraft.economics.planning.traffic import Traffic, parse_lengths, read_traffic
from fairdraft.errors import ConfigError

if TYPE_CHECKING:
    from fairdraft.economics.costs.step_costs import StepCosts
    from fairdraft.economics.planning.acceptance import Acceptance
    from fairdraft.economics.planning.plan import Plan
    from fairdraft.economics.planning.queueing import Limits
    from fairdraft.economics.planning.rates import RatePlan
    from fairdraft.economics.planning.served import FloatArray, Served

CHARACTERS = 4  # of a token, where a file has texts and no lengths
COUNTED = "Prompts are texts: a token was taken to be 4 characters."
ROUNDED = 3  # digits of a rate
GROWS = "grows"  # of a wait without an end


@dataclass(frozen=True)
class TrafficWords:
    """What options say of the traffic.

    Args:
        prompts: file of prompts, or a shipped dataset.
        prompt_tokens, output_tokens: lengths in words, as `parse_lengths` reads them.
        rate: requests a second.
        max_num_seqs: seats of the server, for a rate; by default the most that was measured.
        max_num_batched_tokens: rows of a step.
        kv_tokens: that its KV holds; None: enough.

    Raises:
        ConfigError: lengths are missing, or given twice, or an option has nothing to do.
    """

    prompts: str | None = None
    prompt_tokens: str | None = None
    output_tokens: str | None = None
    rate: float | None = None
    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    kv_tokens: int | None = None

    def __post_init__(self) -> None:
        if self.prompts is not None and self.prompt_tokens is not None:
            raise ConfigError(
                "--prompts and --prompt-tokens both say how long prompts are: give one"
            )
        known = self.prompts is not None or self.prompt_tokens is not None
        if not known and any(
            each is not None
            for each in (
                self.output_tokens,
                self.rate,
                self.max_num_seqs,
                self.max_num_batched_tokens,
                self.kv_tokens,
            )
        ):
            raise ConfigError(
                "a run with its prompts needs their lengths: add --prompt-tokens 300, say, or "
                "--prompts FILE"
            )
        if self.prompt_tokens is not None and self.output_tokens is None:
            raise ConfigError("--prompt-tokens needs --output-tokens: how long answers are")
        if self.max_num_seqs is not None and self.rate is None:
            raise ConfigError("--max-num-seqs goes with --rate; --concurrency says loads")
        if self.rate is not None and not (math.isfinite(self.rate) and self.rate > 0):
            raise ConfigError(f"--rate is {self.rate:g}, but must be requests a second, above 0")
        if self.kv_tokens is not None and self.kv_tokens < 1:
            raise ConfigError(f"--kv-tokens is {self.kv_tokens}, but must be from 1 on")

    def load(self) -> tuple[Traffic | None, tuple[str, ...]]:
        """Return the traffic, None if nothing is said of it, and notes on how it was read."""
        outputs: tuple[int, ...] = ()
        if self.output_tokens is not None:
            outputs = parse_lengths("--output-tokens", self.output_tokens)
        if self.prompt_tokens is not None:
            return Traffic(parse_lengths("--prompt-tokens", self.prompt_tokens), outputs), ()
        if self.prompts is None:
            return None, ()
        found = read_traffic(Path(self.prompts), outputs) if Path(self.prompts).exists() else None
        if found is not None:
            return found, ()
        from fairdraft.bench.datasets import load_prompts

        texts = load_prompts(self.prompts)
        if not outputs:
            raise ConfigError(
                f"{self.prompts!r} holds texts, and not how long each answer is: add "
                "--output-tokens"
            )
        lengths = tuple(max(round(len(text) / CHARACTERS), 1) for text in texts)
        return Traffic(lengths, outputs), (COUNTED,)

    def limits(self, measured: int) -> Limits:
        """Return the server's limits.

        Args:
            measured: requests at once, the most that were measured.
        """
        from fairdraft.economics.planning.queueing import Limits

        seats = measured if self.max_num_seqs is None else self.max_num_seqs
        rows = self.max_num_batched_tokens
        if rows is None:
            rows = max(Limits().max_num_batched_tokens, seats)
        return Limits(seats, rows, self.kv_tokens)


def rate_plans(
    words: TrafficWords,
    traffic: Traffic,
    costs: StepCosts,
    acceptances: dict[str, Acceptance],
    ks: Sequence[int] | None,
    extrapolate: bool,
) -> list[RatePlan]:
    """Return what to use at the rate, for each method; nothing without a rate."""
    if words.rate is None:
        return []
    from fairdraft.economics.planning.rates import plan_rate

    limits = words.limits(costs.step.requests[-1])
    lengths = costs.ks if ks is None else ks
    return [
        plan_rate(
            costs,
            acceptance,
            method,
            traffic,
            words.rate,
            lengths,
            limits,
            extrapolate=extrapolate,
        )
        for method, acceptance in acceptances.items()
    ]


def rate_table(found: RatePlan) -> Table:
    """Return what each draft length comes to at a rate, the choice marked."""
    show = titled_table(f"{found.method} at {found.rate:g} requests/s")
    for name in ("k", "tok/s", "TTFT", "ITL", "chunks", "s/request", "saturates"):
        show.add_column(name, justify="right", no_wrap=True)
    for k, cell in found.cells.items():
        served = cell.served
        mark = " ◀" if k == found.k else "  "
        ttft, *between = _milliseconds(served)
        latency = f"{served.mean_latency:.2f}"
        if found.rate >= cell.saturates:  # what was simulated ends, the queue does not
            ttft = latency = GROWS
        shown = (
            f"{served.tokens_per_second:.1f}",
            ttft,
            *between,
            latency,
            f"{cell.saturates:.{ROUNDED}g}/s{mark}",
        )
        show.add_row(str(k) if k else "off", *shown, style="bold" if k == found.k else "")
    show.caption = (
        "p50 | p99, ms. TTFT: from arrival, the queue included. ITL: a token, in the mean of a "
        "request. chunks: between two steps that gave tokens. saturates: requests/s that it can "
        "finish; beyond it the queue only grows."
    )
    return show


def rate_sentence(found: RatePlan) -> str:
    """Return the choice at a rate, and where it changes, as a sentence."""
    served = found.cells[found.k].served
    if found.rate >= found.saturates:
        first = (
            f"{found.method} at {found.rate:g} requests/s: no draft length keeps up; "
            f"{length_name(found.k)} finishes most, {found.saturates:.{ROUNDED}g}/s"
        )
    else:
        ttft, itl = _both(served)
        first = (
            f"{found.method} at {found.rate:g} requests/s: {length_name(found.k)}, "
            f"{served.tokens_per_second:.1f} tokens/s, TTFT {ttft}, ITL {itl}"
        )
    parts = [length_name(found.changes[0][1])]
    parts += [f"{length_name(k)} from {rate:.{ROUNDED}g}/s on" for rate, k in found.changes[1:]]
    ends = f"all saturates at {found.saturates:.{ROUNDED}g}/s"
    off = "" if found.off_from is not None else "; off is never better"
    if len(found.changes) == 1 and found.off_from is not None:
        off = "; speculation never pays"
    return f"{first}. By rate: {', '.join(parts)}; {ends}{off}."


def load_table(plan: Plan, method: str) -> Table:
    """Return TTFT and latencies at each load, off and at the choice."""
    show = titled_table(f"{method}: whole runs, prompts included")
    for name in ("at once", "k", "requests/s", "TTFT", "ITL", "chunks"):
        show.add_column(name, justify="right", no_wrap=True)
    for n in plan.concurrencies:
        choice, off = plan.choices[method, n], plan.cells[method, n, 0]
        if choice is None or off is None:
            show.add_row(str(n), "[dim]–[/dim]")
            continue
        for cell in (off, choice.cell) if choice.k else (off,):
            if cell.served is None:
                continue
            rate = f"{cell.served.requests_per_second:.{ROUNDED}g}"
            name = str(cell.k) if cell.k else "off"
            show.add_row(str(n), name, rate, *_milliseconds(cell.served))
    show.caption = "p50 | p99, ms. ITL: a token, in the mean of a request. chunks: between steps."
    return show


def traffic_sentence(traffic: Traffic) -> str:
    """Return the traffic in words."""
    return (
        f"Prompts of {traffic.mean_prompt:.0f} tokens and answers of {traffic.mean_output:.0f} in "
        "the mean; prompts are priced, prefix hits are not assumed."
    )


def _milliseconds(served: Served) -> tuple[str, str, str]:
    from fairdraft.economics.planning.served import percentile

    def both(values: FloatArray, digits: int) -> str:
        if not len(values):
            return "–"  # answers of one token have no second one
        return " | ".join(f"{percentile(values, q) * 1e3:.{digits}f}" for q in (50, 99))

    return both(served.ttft, 0), both(served.inter_token, 1), both(served.inter_chunk, 0)


def _both(served: Served) -> tuple[str, str]:
    from fairdraft.economics.planning.served import percentile

    ttft, itl = served.ttft * 1e3, served.inter_token * 1e3
    gaps = f"p50 {percentile(itl, 50):.1f} ms, p99 {percentile(itl, 99):.1f} ms a token"
    return (
        f"p50 {percentile(ttft, 50):.0f} ms, p99 {percentile(ttft, 99):.0f} ms",
        gaps if len(itl) else "none",
    )
