"""The cells of a benchmark, and the loop that measures them in turns."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from fairdraft.bench.datasets import load_prompts
from fairdraft.bench.measurement import Measurement, measure
from fairdraft.cli.options import NO_SPECULATION, encode_prompt, load_llm, speculative_config
from fairdraft.config import SamplingParams, require, require_int

if TYPE_CHECKING:
    from fairdraft.llm import LLM

WARM_UP = 0  # the round that does not count
Speculation = tuple[str, int]  # method and draft length k; ("none", 0) is off


@dataclass(frozen=True)
class Cell:
    """One combination of settings.

    Args:
        dataset: name or path.
        concurrency: requests that run at once.
        method: who drafts, or "none".
        k: draft length; 0 for "none".
    """

    dataset: str
    concurrency: int
    method: str
    k: int


@dataclass(frozen=True)
class Grid:
    """What to measure.

    Args:
        datasets: names or paths, see `load_prompts`.
        methods: proposers, and "none" for the reference.
        ks: draft lengths, at least 1.
        concurrencies: requests at once, at least 1.
        num_prompts: of each dataset; a multiple of every concurrency.
        max_tokens: generated for each prompt, EOS ignored.
        rounds: timed passes of each cell.

    Raises:
        ConfigError: a value is out of range.
    """

    datasets: tuple[str, ...]
    methods: tuple[str, ...]
    ks: tuple[int, ...]
    concurrencies: tuple[int, ...]
    num_prompts: int
    max_tokens: int
    rounds: int

    def __post_init__(self) -> None:
        require(bool(self.methods), "--methods is empty: name some, such as none,ngram")
        for k in self.ks:
            require_int("--k", k, 1, "for no speculation name the method none")
        require_int("--max-tokens", self.max_tokens, 1, "128 is usual")
        require_int("--rounds", self.rounds, 1, "3 is usual")
        require_int("--num-prompts", self.num_prompts, 1, "8 is usual")
        for n in self.concurrencies:
            require_int("--concurrency", n, 1, "1 is one request at a time")
            require(
                self.num_prompts % n == 0,
                f"--num-prompts is {self.num_prompts}, but must be a multiple of --concurrency "
                f"{n}: a last group that is not full would be no measurement of {n}",
            )

    @property
    def speculations(self) -> list[Speculation]:
        """Each method with each k; "none" once."""
        pairs = ((m, 0 if m == NO_SPECULATION else k) for m in self.methods for k in self.ks)
        return list(dict.fromkeys(pairs))

    @property
    def cells(self) -> list[Cell]:
        """Every cell; those to be compared with each other lie, and so run, side by side."""
        settings = itertools.product(self.datasets, self.concurrencies, self.speculations)
        return [Cell(dataset, n, method, k) for dataset, n, (method, k) in settings]


class Bench:
    """A grid under way.

    Args:
        grid: what to measure.
        model: as for `LLM`.
        options: likewise.

    Attributes:
        samples: one measurement per cell and finished round.

    Raises:
        ConfigError: a dataset is missing, broken or too small.
    """

    def __init__(self, grid: Grid, model: str, **options: Any) -> None:
        self.grid = grid
        self.model = model
        self.options = options
        self.samples: dict[Cell, list[Measurement]] = {cell: [] for cell in grid.cells}
        self._texts = {name: load_prompts(name, grid.num_prompts) for name in grid.datasets}
        for name, texts in self._texts.items():
            require(
                len(texts) == grid.num_prompts,
                f"{name!r} holds {len(texts)} prompts, but --num-prompts is {grid.num_prompts}: "
                "lower it",
            )

    def run(self) -> None:
        """Measure all cells, round by round, A B C A B C ..."""
        llms = {each: self._load(*each) for each in self.grid.speculations}
        llm = next(iter(llms.values()))
        prompts = {
            name: [encode_prompt(llm, text) for text in texts]
            for name, texts in self._texts.items()
        }
        passes = list(self._passes())
        columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            total = sum(len(groups) for _, _, groups in passes)
            task = progress.add_task("", total=total)
            for number, cell, groups in passes:
                what = f"round {number} of {self.grid.rounds}" if number else "warming up"
                progress.update(task, description=what)
                sample = Measurement()
                for group in groups:
                    chosen = [prompts[cell.dataset][i] for i in group]
                    sample.add(measure(llms[cell.method, cell.k], chosen, self._params))
                    progress.advance(task)
                if number != WARM_UP:
                    self.samples[cell].append(sample)

    @property
    def _params(self) -> SamplingParams:
        return SamplingParams(temperature=0, max_tokens=self.grid.max_tokens, ignore_eos=True)

    def _load(self, method: str, k: int) -> LLM:
        return load_llm(
            self.model,
            speculative_config=speculative_config(method, k),
            max_num_seqs=max(self.grid.concurrencies),
            enable_prefix_caching=False,  # or every round after the first would skip the prefill
            **self.options,
        )

    def _passes(self) -> Iterator[tuple[int, Cell, list[range]]]:
        """Round, cell, and the groups of prompt numbers to run; one group in the warm-up."""
        for number in range(self.grid.rounds + 1):
            for cell in self.samples:
                n = cell.concurrency
                groups = [range(i, i + n) for i in range(0, self.grid.num_prompts, n)]
                yield number, cell, groups[:1] if number == WARM_UP else groups
