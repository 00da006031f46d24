"""Times whole steps of the engine, at settings of our choosing, in turns."""

from __future__ import annotations

import itertools
import random
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from fairdraft.config import SamplingParams, SpeculativeConfig, require_int
from fairdraft.economics.costs.cost_surface import CostSurface, Point
from fairdraft.economics.costs.profile import Profile
from fairdraft.engine.engine import Engine
from fairdraft.errors import ConfigError
from fairdraft.models import ModelRunner
from fairdraft.profiling.steps import (
    Filler,
    rejecting_engine,
    standing,
    step,
    steps,
    unread,
)
from fairdraft.proposers import Proposer, build_proposer
from fairdraft.request import Request
from fairdraft.sampling.sampler import DraftNoise
from fairdraft.telemetry import StepTimes

Setting = tuple[int, int, int]  # requests, rows, context
Samples = defaultdict[Setting, list[float]]
WARM_UP = 2  # rounds that do not count
PERIOD = 64  # tokens after which the texts for lookups repeat
PROMPTS_EVERY = 2  # rounds: steps that read prompts are long, and steadier than others
LATE = 2  # of the lengths of prompts, the longest, are read behind a context too


@dataclass(frozen=True)
class ProfileGrid:
    """Where to measure.

    Args:
        requests: side by side.
        ks: draft lengths; 0 is measured always.
        contexts: tokens before the step.
        rounds: times that each setting is measured, after two that do not count.
        prefill: rows of prompt chunks to read, every second round; the longest two at the longest
            context too. None leaves prompts out.

    Raises:
        ConfigError: a number below 1, or none.
    """

    requests: tuple[int, ...] = (1, 2, 4, 8)
    ks: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 7, 8)
    contexts: tuple[int, ...] = (128, 512)
    rounds: int = 9
    prefill: tuple[int, ...] = (16, 64, 128, 256, 512)

    def __post_init__(self) -> None:
        for name in ("requests", "ks", "contexts"):
            values = getattr(self, name)
            if not values:
                raise ConfigError(f"--{name} is empty: name some, such as 1,2,4")
            for value in values:
                require_int(f"--{name}", value, 1, "k = 0 is measured always")
        require_int("--rounds", self.rounds, 3, "9 is usual")


def profile_model(
    runner: ModelRunner,
    grid: ProfileGrid,
    methods: Sequence[SpeculativeConfig] = (),
    tokenizer: Any = None,
    model: str = "",
    environment: Mapping[str, Any] | None = None,
    tick: Callable[[str], None] = lambda what: None,
) -> Profile:
    """Measure a target and drafters, the medians over all rounds; arguments as for `Profiler`.

    Args:
        model: its name, for the profile.
        environment: hardware and versions, for the profile.
        tick: called before each measurement with what it is, for a progress bar.
    """
    profiler = Profiler(runner, grid, methods, tokenizer)
    for _ in range(WARM_UP + grid.rounds):
        profiler.round(tick)
    return profiler.profile(model, environment)


class Profiler:
    """Measures a target and drafters, a round at a time.

    Each round measures every setting once, one after the other. Steps are the engine's, scheduling,
    verification and detokenizing included, on requests whose KV holds zeros: what a step costs does
    not hang on what it says. All drafts are rejected.

    Args:
        runner: the target.
        grid: where; how many rounds is up to the caller.
        methods: drafters to time beside it.
        tokenizer: the target's; None leaves detokenizing out.

    Raises:
        ConfigError: a setting that the model or a drafter is not made for.
    """

    def __init__(
        self,
        runner: ModelRunner,
        grid: ProfileGrid,
        methods: Sequence[SpeculativeConfig] = (),
        tokenizer: Any = None,
    ) -> None:
        longest = max(grid.contexts) + max(grid.ks) + 64
        if longest > runner.max_model_len:
            raise ConfigError(
                f"steps are to be timed at a context of {max(grid.contexts)} tokens, and {longest} "
                f"are needed with drafts, but the model was made for {runner.max_model_len}: give "
                "shorter --contexts, or a model for longer texts"
            )
        self.runner, self.grid = runner, grid
        self._chunks = _chunks(grid, runner.max_model_len - 1)
        proposers = {config.method: _build(config) for config in methods}

        def engine(proposer: Proposer) -> Engine:
            # All of a size: the runner has one pool, which the last engine made.
            most, prompt = max(grid.requests), max(grid.prefill, default=1)
            k, context = max(grid.ks), max(grid.contexts)
            longest = max([context, *(rows + start for rows, start in self._chunks)])
            return rejecting_engine(runner, proposer, most, k, longest, prompt, tokenizer)

        self._target = engine(Filler(max(grid.ks)))
        self._drafting: dict[str, tuple[Engine, list[int]]] = {}
        self._texts: dict[str, tuple[Proposer, dict[tuple[int, int], list[Request]]]] = {}
        for method, proposer in proposers.items():
            if proposer.is_lookup:
                proposer.bind(runner)
                self._texts[method] = proposer, self._repeating(method, proposer)
            else:
                ks = [k for k in grid.ks if k <= proposer.num_speculative_tokens]
                self._drafting[method] = engine(proposer), ks
        self._rounds = 0
        self._step: Samples = defaultdict(list)
        self._run: Samples = defaultdict(list)
        self._prefill: Samples = defaultdict(list)
        self._drafts: dict[str, Samples] = {method: defaultdict(list) for method in proposers}
        self._reading: dict[str, Samples] = {method: defaultdict(list) for method in proposers}

    def round(self, tick: Callable[[str], None] = lambda what: None) -> None:
        """Measure every setting once; the first two rounds warm up."""
        for context, requests in itertools.product(self.grid.contexts, self.grid.requests):
            tick(f"target, context {context}")
            self._time_steps(requests, context)
            for method in self._drafting:
                tick(f"{method}, context {context}")
                self._time_drafts(method, requests, context)
            for method in self._texts:
                tick(f"{method}, context {context}")
                self._time_lookups(method, requests, context)
        if self._rounds % PROMPTS_EVERY == 0:
            self._time_prompts(tick)
        self._rounds += 1
        if self._rounds <= WARM_UP:
            drafters = (*self._drafts.values(), *self._reading.values())
            for samples in (self._step, self._run, self._prefill, *drafters):
                samples.clear()

    def profile(self, model: str = "", environment: Mapping[str, Any] | None = None) -> Profile:
        """The medians so far.

        Args:
            model: its name.
            environment: hardware and versions.

        Raises:
            ConfigError: no round counted yet.
        """
        runner = self.runner
        return Profile(
            model,
            str(runner.model.dtype).removeprefix("torch."),
            environment or {},
            _surface(self._step, "the target"),
            _surface(self._run, "the target"),
            {method: _surface(samples, method) for method, samples in self._drafts.items()},
            _surface(self._prefill, "the target's prefill") if self._prefill else None,
            runner.weight_bytes,
            sum(p.numel() for p in runner.model.parameters()),
            runner.kv_bytes_per_token,
            {method: _surface(samples, method) for method, samples in self._reading.items()}
            if self._prefill
            else {},
        )

    def _repeating(self, method: str, proposer: Proposer) -> dict[tuple[int, int], list[Request]]:
        """Texts for a lookup to find something in, by requests and context."""
        found: dict[tuple[int, int], list[Request]] = {}
        for requests, context in itertools.product(self.grid.requests, self.grid.contexts):
            own = []
            for i in range(requests):
                name = f"{method}-{requests}-{context}-{i}"
                rng = random.Random(name)
                text = [rng.randrange(10_000) for _ in range(PERIOD)]
                request = Request(name, (*text, text[0]), SamplingParams())
                request.token_ids.extend(text[i % PERIOD] for i in range(1, context))
                proposer.start(request)
                own.append(request)
            found[requests, context] = own
        return found

    def _time_steps(self, requests: int, context: int) -> None:
        """Whole steps without their proposing, and their runs alone."""
        made = steps(self._target, requests, context, self.grid.ks, self._rounds)
        for (k, _), (_, times) in itertools.pairwise(made):
            self._step[requests, 1 + k, context].append(times.total - times.propose)
            self._run[requests, 1 + k, context].append(times.run)

    def _time_drafts(self, method: str, requests: int, context: int) -> None:
        """Proposing, what a drafter does to see the step included."""
        engine, ks = self._drafting[method]
        for k, times in steps(engine, requests, context, ks, self._rounds):
            if k:
                self._drafts[method][requests, k, context].append(times.propose)

    def _time_lookups(self, method: str, requests: int, context: int) -> None:
        """Lookups in texts that repeat, each behind a step of the target's.

        Repeated by themselves they would find all they need in the processor's cache.
        """
        proposer, texts = self._texts[method]
        own, noise = texts[requests, context], DraftNoise()
        made = standing(self._target, requests, context)
        for k in self.grid.ks:
            step(self._target, 0)
            for request in own:
                request.token_ids.append(request.token_ids[-PERIOD])
            start = perf_counter()
            proposer.propose(own, [k] * requests, [()] * requests, noise)
            self._drafts[method][requests, k, context].append(perf_counter() - start)
        for request in made:
            self._target.abort(request.request_id)

    def _time_prompts(self, tick: Callable[[str], None]) -> None:
        """Steps that read prompt chunks, and drafters that read the shortest and the longest."""
        for rows, start in self._chunks:
            tick(f"prefill of {rows} tokens")
            self._prefill[1, rows, start].append(self._read(self._target, rows, start).total)
        ends = sorted({rows for rows, start in self._chunks if not start})
        for rows in {ends[0], ends[-1]} if ends else ():
            for method, (engine, _) in self._drafting.items():
                tick(f"prefill of {rows} tokens, {method}")
                self._reading[method][1, rows, 0].append(self._read(engine, rows, 0).propose)
            for method, (proposer, _) in self._texts.items():
                self._reading[method][1, rows, 0].append(self._look_up_first(proposer, rows))

    def _read(self, engine: Engine, rows: int, start: int) -> StepTimes:
        """Time a step that reads a chunk of a prompt."""
        chunk = unread(engine, rows, start)
        times = step(engine, 0)
        engine.abort(chunk.request_id)
        return times

    def _look_up_first(self, proposer: Proposer, rows: int) -> float:
        """Time a lookup's first draft in a text, for which it reads all of it."""
        rng = random.Random(rows)
        prompt = tuple(rng.randrange(1000) for _ in range(rows))
        request = Request(f"read-{rows}", prompt, SamplingParams())
        begun = perf_counter()
        proposer.start(request)
        proposer.propose([request], [1], [()], DraftNoise())
        taken = perf_counter() - begun
        proposer.finish(request.request_id)
        return taken


def _chunks(grid: ProfileGrid, most: int) -> list[tuple[int, int]]:
    """Return the prompt chunks to read, of texts of so many tokens at most: rows, and start."""
    lengths = sorted(rows for rows in grid.prefill if rows <= most)
    late = max(grid.contexts)
    found = [(rows, 0) for rows in lengths]
    return found + [(rows, late) for rows in lengths[-LATE:] if rows + late <= most]


def _build(config: SpeculativeConfig) -> Proposer:
    proposer = None if config.method in ("auto", "hybrid") else build_proposer(config)
    if proposer is None:
        raise ConfigError(f"{config.method!r} cannot be timed: name methods that draft themselves")
    return proposer


def _surface(samples: Samples, name: str) -> CostSurface:
    return CostSurface((Point(*at, tuple(seconds)) for at, seconds in samples.items()), name)
