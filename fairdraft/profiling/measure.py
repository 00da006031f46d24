"""Times whole steps of the engine, at settings of our choosing, in turns."""

from __future__ import annotations

import itertools
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any

from fairdraft.config import EngineConfig, SamplingParams, SpeculativeConfig, require_int
from fairdraft.draft import Draft
from fairdraft.economics.profile import Profile
from fairdraft.economics.surface import CostSurface, Point
from fairdraft.engine.controller import FixedController
from fairdraft.engine.engine import Engine
from fairdraft.errors import ConfigError
from fairdraft.models import ModelRunner
from fairdraft.proposers import PerRequestProposer, Proposer, build_proposer
from fairdraft.request import Request, Status
from fairdraft.sampling.sampler import DraftNoise
from fairdraft.telemetry import StepTimes

Setting = tuple[int, int, int]  # requests, rows, context
Samples = defaultdict[Setting, list[float]]
PERIOD = 64  # tokens after which the texts for lookups repeat
PREFILL_ROWS = (16, 64, 128, 256, 512)
BLOCK = 16


@dataclass(frozen=True)
class ProfileGrid:
    """Where to measure.

    Args:
        requests: side by side.
        ks: draft lengths; 0 is measured always.
        contexts: tokens before the step.
        rounds: times that each setting is measured; the first two are not counted.

    Raises:
        ConfigError: a number below 1, or none.
    """

    requests: tuple[int, ...] = (1, 2, 4, 8)
    ks: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 7, 8)
    contexts: tuple[int, ...] = (128, 512)
    rounds: int = 9

    def __post_init__(self) -> None:
        for name in ("requests", "ks", "contexts"):
            values = getattr(self, name)
            if not values:
                raise ConfigError(f"--{name} is empty: name some, such as 1,2,4")
            for value in values:
                require_int(f"--{name}", value, 1, "k = 0 is measured always")
        require_int("--rounds", self.rounds, 3, "9 is usual")

    @property
    def num_rounds(self) -> int:
        """Of the target, those that do not count included."""
        return (self.rounds + 2) * len(self.contexts) * len(self.requests)


class Filler(PerRequestProposer):
    """Drafts tokens that mean nothing, at no cost."""

    def draft(self, request: Request, budget: int, noise: DraftNoise) -> Draft:
        """So many tokens."""
        return Draft(tuple(range(10, 10 + budget)))


def profile_model(
    runner: ModelRunner,
    grid: ProfileGrid,
    methods: Sequence[SpeculativeConfig] = (),
    tokenizer: Any = None,
    model: str = "",
    environment: Mapping[str, Any] | None = None,
    tick: Callable[[str], None] = lambda what: None,
) -> Profile:
    """Measure a target and drafters.

    Each round measures every setting once, one after the other; the medians are the profile. Steps
    are the engine's, scheduling, verification and detokenizing included, on requests whose KV holds
    zeros: what a step costs does not hang on what it says. All drafts are rejected.

    Args:
        runner: the target.
        grid: where.
        methods: drafters to time beside it.
        tokenizer: the target's; None leaves detokenizing out.
        model: its name, for the profile.
        environment: hardware and versions, for the profile.
        tick: called before each measurement with what it is, for a progress bar.

    Raises:
        ConfigError: a setting that the model or a drafter is not made for.
    """
    longest = max(grid.contexts) + max(grid.ks) + 64
    if longest > runner.max_model_len:
        raise ConfigError(
            f"--contexts goes up to {max(grid.contexts)}, but the model was made for "
            f"{runner.max_model_len} tokens and a few are needed for drafts: lower it"
        )
    proposers = {config.method: _build(config) for config in methods}
    engine = _engine(runner, grid, Filler(max(grid.ks)), tokenizer)
    whole, run = _time_steps(engine, grid, partial(_tell, tick, "target"))
    prefill = _time_prefill(engine, grid.rounds, tick)
    drafters: dict[str, CostSurface] = {}
    for method, proposer in proposers.items():
        samples: Samples
        if proposer.is_lookup:
            proposer.bind(runner)
            samples = _time_lookups(engine, proposer, grid, tick, method)
        else:
            ks = tuple(k for k in grid.ks if k <= proposer.num_speculative_tokens)
            own = ProfileGrid(grid.requests, ks, grid.contexts, grid.rounds)
            able = _engine(runner, own, proposer, tokenizer)
            samples = _time_drafts(able, own, partial(_tell, tick, method))
        drafters[method] = _surface(samples, method)
    return Profile(
        model,
        str(runner.model.dtype).removeprefix("torch."),
        environment or {},
        _surface(whole, "the target"),
        _surface(run, "the target"),
        drafters,
        _surface(prefill, "the target's prefill"),
        runner.weight_bytes,
        sum(p.numel() for p in runner.model.parameters()),
        runner.kv_bytes_per_token,
    )


def _build(config: SpeculativeConfig) -> Proposer:
    proposer = None if config.method in ("auto", "hybrid") else build_proposer(config)
    if proposer is None:
        raise ConfigError(f"{config.method!r} cannot be timed: name methods that draft themselves")
    return proposer


def _tell(tick: Callable[[str], None], name: str, context: int) -> None:
    tick(f"{name}, context {context}")


def _surface(samples: Samples, name: str) -> CostSurface:
    return CostSurface((Point(*at, tuple(seconds)) for at, seconds in samples.items()), name)


def _engine(runner: ModelRunner, grid: ProfileGrid, proposer: Proposer, tokenizer: Any) -> Engine:
    """An engine whose drafts are all rejected, with room for the largest setting."""
    k, most = max(grid.ks), max(grid.requests)
    synthetic = SpeculativeConfig(
        "off", k, rejection_sample_method="synthetic", synthetic_acceptance_rates=[0.0] * k
    )
    longest = max(*grid.contexts, *PREFILL_ROWS) + k + 64
    config = EngineConfig(
        "profile",
        max_model_len=min(longest + k, runner.max_model_len),
        max_num_seqs=most,
        max_num_batched_tokens=max(most * (k + 1), *PREFILL_ROWS),
        num_gpu_blocks_override=(most + 1) * -(-(longest + 2 * k) // BLOCK),
        block_size=BLOCK,
        enable_prefix_caching=False,
        speculative_config=synthetic,
    )
    return Engine(config, runner, tokenizer, proposer=proposer, controller=FixedController(0))


def _standing(engine: Engine, requests: int, context: int) -> list[Request]:
    """Requests that decode, with so much context behind them, none of it computed.

    Their blocks are taken as the scheduler would; what lies in them does not matter to the clock.
    """
    scheduler = engine.scheduler
    made = []
    for number in range(requests):
        rng = random.Random(number)
        tokens = [rng.randrange(1000, 20_000) % engine.runner.vocab_size for _ in range(context)]
        request = engine.add_request(
            tokens, SamplingParams(temperature=0, max_tokens=None, ignore_eos=True)
        )
        scheduler.waiting.remove(request)
        scheduler.kv.grow(request, context, context, scheduler.num_lookahead_tokens)
        request.num_computed_tokens = context - 1
        request.status = Status.RUNNING
        scheduler.running.append(request)
        if engine.proposer is not None:
            engine.proposer.start(request)
        made.append(request)
    return made


def _step(engine: Engine, next_k: int) -> StepTimes:
    """One step, and what it took; it proposes drafts of `next_k` tokens for the next one."""
    assert isinstance(engine.controller, FixedController)
    engine.controller.num_speculative_tokens = next_k
    before = vars(engine.times).copy()
    engine.step()
    after = vars(engine.times)
    return StepTimes(**{name: after[name] - before[name] for name in before})


def _rounds(
    engine: Engine, grid: ProfileGrid, tick: Callable[[int], None]
) -> Iterator[tuple[bool, int, int, list[tuple[int, StepTimes]]]]:
    """Whether it counts, requests, context, and steps as (k proposed in it, times)."""
    for number in range(grid.rounds + 2):
        for context in grid.contexts:
            for requests in grid.requests:
                tick(context)
                made = _standing(engine, requests, context)
                _step(engine, 0)  # a drafter's first step reads what it needs of the text
                lengths = [0, *grid.ks]
                random.Random(number).shuffle(lengths)
                yield number > 1, requests, context, [(k, _step(engine, k)) for k in [*lengths, 0]]
                for request in made:
                    engine.abort(request.request_id)


def _time_steps(
    engine: Engine, grid: ProfileGrid, tick: Callable[[int], None]
) -> tuple[Samples, Samples]:
    """Seconds of whole steps without their proposing, and of their runs alone."""
    whole: Samples = defaultdict(list)
    run: Samples = defaultdict(list)
    for counts, requests, context, steps in _rounds(engine, grid, tick):
        for (k, _), (_, times) in itertools.pairwise(steps):
            if counts:  # what one step proposes, the next one runs
                whole[requests, 1 + k, context].append(times.total - times.propose)
                run[requests, 1 + k, context].append(times.run)
    return whole, run


def _time_drafts(engine: Engine, grid: ProfileGrid, tick: Callable[[int], None]) -> Samples:
    """Seconds of proposing, what a drafter does to see the step included."""
    samples: Samples = defaultdict(list)
    for counts, requests, context, steps in _rounds(engine, grid, tick):
        for k, times in steps:
            if counts and k:
                samples[requests, k, context].append(times.propose)
    return samples


def _time_lookups(
    engine: Engine, proposer: Proposer, grid: ProfileGrid, tick: Callable[[str], None], name: str
) -> Samples:
    """Seconds of lookups in texts that repeat, each behind a step of the target's.

    Repeated by themselves they would find all they need in the processor's cache.
    """
    samples: Samples = defaultdict(list)
    noise, numbers = DraftNoise(), iter(range(1 << 30))
    for context in grid.contexts:
        for requests in grid.requests:
            own = []
            for _ in range(requests):
                rng = random.Random(next(numbers))
                text = [rng.randrange(10_000) for _ in range(PERIOD)]
                request = Request(f"{name}-{next(numbers)}", (*text, text[0]), SamplingParams())
                request.token_ids.extend(text[i % PERIOD] for i in range(1, context))
                proposer.start(request)
                own.append(request)
            proposer.propose(own, [1] * requests, [()] * requests, noise)
            for number in range(grid.rounds + 2):
                tick(f"{name}, context {context}")
                standing = _standing(engine, requests, context)
                for k in grid.ks:
                    _step(engine, 0)
                    for request in own:
                        request.token_ids.append(request.token_ids[-PERIOD])
                    start = perf_counter()
                    proposer.propose(own, [k] * requests, [()] * requests, noise)
                    if number > 1:
                        samples[requests, k, context].append(perf_counter() - start)
                for request in standing:
                    engine.abort(request.request_id)
            for request in own:
                request.token_ids = list(request.prompt_token_ids)  # nothing to remember
                proposer.finish(request.request_id)
    return samples


def _time_prefill(engine: Engine, rounds: int, tick: Callable[[str], None]) -> Samples:
    """Seconds of a step that reads a prompt."""
    samples: Samples = defaultdict(list)
    for number in range(max(rounds // 2, 2)):
        for rows in PREFILL_ROWS:
            if rows >= engine.max_model_len:
                continue
            tick(f"prefill of {rows} tokens")
            size = engine.runner.vocab_size
            tokens = [random.Random(i).randrange(1000) % size for i in range(rows)]
            request = engine.add_request(tokens, SamplingParams(temperature=0, max_tokens=2))
            times = _step(engine, 0)
            if number:
                samples[1, rows, rows].append(times.total)
            engine.abort(request.request_id)
    return samples
