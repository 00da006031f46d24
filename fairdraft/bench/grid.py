"""A grid of settings, and the loop that measures its cells in turns."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from fairdraft.bench.datasets import load_prompts
from fairdraft.bench.measurement import Measurement, measure
from fairdraft.config import SamplingParams, require, require_int

if TYPE_CHECKING:
    from fairdraft.llm import LLM

NO_SPECULATION = "none"  # the method that drafts nothing, the reference of every speedup
CLEARED, KEPT = "cleared", "kept"  # what becomes of past answers between two rounds
WARM_UP = 0  # the round that does not count
Speculation = tuple[str, int]  # method and draft length k; ("none", 0) is off


class Load(Protocol):
    """Makes an engine that drafts by a method, k tokens a step, under engine options."""

    def __call__(self, method: str, k: int, /, **options: Any) -> LLM: ...


@dataclass(frozen=True)
class GridCell:
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
    """Settings to measure, each with each.

    Args:
        datasets: names or paths, see `load_prompts`.
        methods: proposers, and "none" for the reference.
        ks: draft lengths, at least 1.
        concurrencies: requests at once, at least 1.
        num_prompts: of each dataset; a multiple of every concurrency.
        max_tokens: generated for each prompt, EOS ignored.
        rounds: timed passes of each cell.
        memory: "cleared": a proposer sees the answers of one pass over a dataset only, for other
            rounds and loads repeat the prompts, and an index of past answers would know them by
            heart. "kept": it sees all that was answered before.

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
    memory: str = CLEARED

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
        require(
            self.memory in (CLEARED, KEPT),
            f"memory is {self.memory!r}, but must be {CLEARED!r} or {KEPT!r}",
        )

    @property
    def speculations(self) -> list[Speculation]:
        """Each method with each k; "none" once."""
        pairs = ((m, 0 if m == NO_SPECULATION else k) for m in self.methods for k in self.ks)
        return list(dict.fromkeys(pairs))

    @property
    def cells(self) -> list[GridCell]:
        """Every cell; those to be compared with each other lie, and so run, side by side."""
        settings = itertools.product(self.datasets, self.concurrencies, self.speculations)
        return [GridCell(dataset, n, method, k) for dataset, n, (method, k) in settings]

    def cache_salt(self, number: int, cell: GridCell) -> str | None:
        """Return the salt of a cell's prompts in a round, None where memory is kept.

        One engine answers the same prompts in every round and at every concurrency. Each time has a
        salt of its own, which the prompts of a dataset share.
        """
        if self.memory == KEPT:
            return None
        return f"round {number}, {cell.dataset}, {cell.concurrency} at once"


class Bench:
    """A grid under way.

    Every method and k has an engine of its own. No prefix is reused, or every round after the first
    would skip the prefill.

    Args:
        grid: what to measure.
        load: makes an engine.
        encode: token ids of a prompt's text.
        model: what the report says of the model: its name and options.

    Attributes:
        samples: one measurement per cell and finished round.
        prompt_tokens: by dataset, tokens of each prompt; empty before `run`.

    Raises:
        ConfigError: a dataset is missing, broken or too small.
    """

    def __init__(
        self,
        grid: Grid,
        load: Load,
        encode: Callable[[LLM, str], list[int]],
        model: Mapping[str, Any],
    ) -> None:
        self.grid, self.model = grid, dict(model)
        self.samples: dict[GridCell, list[Measurement]] = {cell: [] for cell in grid.cells}
        self.prompt_tokens: dict[str, list[int]] = {}
        self._load, self._encode = load, encode
        self._texts = {name: load_prompts(name, grid.num_prompts) for name in grid.datasets}
        for name, texts in self._texts.items():
            require(
                len(texts) == grid.num_prompts,
                f"{name!r} holds {len(texts)} prompts, but --num-prompts is {grid.num_prompts}: "
                "lower it",
            )

    def run(self, tell: Callable[[str, int, int], None] | None = None) -> None:
        """Measure all cells, round by round, A B C A B C ...

        Args:
            tell: called before each group of prompts with what is under way, the groups done and
                the groups in all.
        """
        options = {
            "max_num_seqs": max(self.grid.concurrencies),
            "enable_prefix_caching": False,
        }
        llms = {each: self._load(*each, **options) for each in self.grid.speculations}
        llm = next(iter(llms.values()))
        prompts = {
            name: [self._encode(llm, text) for text in texts] for name, texts in self._texts.items()
        }
        self.prompt_tokens = {name: list(map(len, each)) for name, each in prompts.items()}
        params = SamplingParams(temperature=0, max_tokens=self.grid.max_tokens, ignore_eos=True)
        passes = list(self._passes())
        done, total = 0, sum(len(groups) for _, _, groups in passes)
        for number, cell, groups in passes:
            what = "warming up" if number == WARM_UP else f"round {number} of {self.grid.rounds}"
            sample = Measurement()
            for group in groups:
                if tell is not None:
                    tell(what, done, total)
                chosen = [prompts[cell.dataset][i] for i in group]
                engine = llms[cell.method, cell.k]
                salt = self.grid.cache_salt(number, cell)
                sample.add(measure(engine, chosen, params, salt))
                done += 1
            if number != WARM_UP:
                self.samples[cell].append(sample)

    def _passes(self) -> Iterator[tuple[int, GridCell, list[range]]]:
        """Round, cell, and the groups of prompt numbers to run; one group in the warm-up."""
        for number in range(self.grid.rounds + 1):
            for cell in self.samples:
                n = cell.concurrency
                groups = [range(i, i + n) for i in range(0, self.grid.num_prompts, n)]
                yield number, cell, groups[:1] if number == WARM_UP else groups
