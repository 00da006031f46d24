"""What `fairdraft advise` measures: memory before a model loads, steps, acceptance, and prices."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from fairdraft.cli.options import encode_text, loading
from fairdraft.config import SpeculativeConfig, require
from fairdraft.errors import ConfigError

if TYPE_CHECKING:
    import torch

    from fairdraft.economics.costs.profile import Profile
    from fairdraft.economics.planning.acceptance import Acceptance
    from fairdraft.economics.planning.plan import Plan
    from fairdraft.models import ModelRunner
    from fairdraft.models.checkpoints import Checkpoint
    from fairdraft.models.memory import MemoryNeed

LOADS = (1, 8)  # requests at once that are priced
KS = (1, 2, 4, 8)  # draft lengths that are timed; those between follow
PREFILL = (16, 64, 256)  # rows of a prompt that are timed
SHARE = 0.6  # of the minutes go into step times, the rest into acceptance
LEAST_ROUNDS = 5
SPARE = 0.95  # of the memory that is free may be taken

Tick = Callable[[str], None]


def load(model: str, dtype: str, device: str) -> tuple[MemoryNeed, int, Checkpoint]:
    """Load a model if it fits.

    Returns:
        What it takes, the bytes that were free before, and the model.

    Raises:
        ConfigError: it does not; the message says what would.
    """
    import torch

    from fairdraft.models import load_checkpoint
    from fairdraft.models.checkpoints import choose_device, find_folder
    from fairdraft.models.memory import available_memory, memory_need

    place = choose_device(device)
    precision = torch.bfloat16 if dtype == "auto" else getattr(torch, dtype)
    with loading(model):
        need = memory_need(find_folder(model), precision)
        free = available_memory(place)
        require_fit(model, need, free, place, precision)
        return need, free, load_checkpoint(model, dtype, device)


def require_fit(
    model: str, need: MemoryNeed, free: int, place: torch.device, dtype: torch.dtype
) -> None:
    """Raise `ConfigError` if a model does not fit into what is free; it says what would."""
    room = int(free * SPARE)
    if need.tokens(room) >= max(KS):
        return
    remedies = [
        f"a model of up to {room / need.itemsize / 1e9:.1f} billion parameters fits in this dtype"
    ]
    if dtype.itemsize > 2 and need.weight_bytes // 2 < room:
        remedies.insert(0, f"--dtype bfloat16 takes {gib(need.weight_bytes // 2)} and fits")
    remedies.append("more than one device is vLLM's work, whose log `fairdraft diagnose` reads")
    raise ConfigError(
        f"{model!r} has {need.parameters / 1e9:.2f} billion parameters, {gib(need.weight_bytes)} "
        f"in {str(dtype).removeprefix('torch.')}, but {gib(free)} are free on {place}: "
        f"{'; '.join(remedies)}"
    )


def gib(size: float) -> str:
    """Return bytes in words."""
    return f"{size / 2**30:.2f} GiB"


def measure(
    model: str,
    checkpoint: Checkpoint,
    configs: Mapping[str, SpeculativeConfig],
    texts: Sequence[str],
    max_tokens: int,
    seconds: float,
) -> tuple[Profile, Plan]:
    """Time steps, count acceptance on texts, and price every draft length at `LOADS`.

    Args:
        model: as the user named it.
        checkpoint: the model.
        configs: drafters, by method.
        texts: prompts.
        max_tokens: of each answer.
        seconds: to measure, about.

    Raises:
        ConfigError: no prompt has room, or nothing was drafted.
    """
    from fairdraft.economics.costs.step_costs import StepCosts
    from fairdraft.economics.planning.planner import plan
    from fairdraft.economics.planning.traffic import Traffic
    from fairdraft.models import ModelRunner

    runner = ModelRunner(checkpoint.model, tokenizer=checkpoint.tokenizer, name=model)
    encoded = _encode(checkpoint.tokenizer, texts, runner.max_model_len, max_tokens + max(KS))
    traffic = Traffic(tuple(map(len, encoded)), (max_tokens,))
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=None)

        def tick(what: str) -> None:
            progress.update(task, description=what, advance=1)

        profile = _profile(
            runner, checkpoint, configs, int(traffic.mean_context), model, seconds * SHARE, tick
        )
        each = seconds * (1 - SHARE) / len(configs)
        acceptance = {
            name: found
            for name, config in configs.items()
            if (found := _acceptance(runner, checkpoint, config, encoded, max_tokens, each, tick))
        }
    require(
        bool(acceptance),
        f"none of {', '.join(configs)} drafted a token on these prompts: leave speculation off, or "
        "try a drafter that was trained for the model: --speculative-config",
    )
    return profile, plan(
        StepCosts.of_profile(profile), acceptance, concurrencies=LOADS, traffic=traffic
    )


def _encode(
    tokenizer: Any, texts: Sequence[str], max_model_len: int, reserved: int
) -> list[list[int]]:
    """Return prompts as token ids, through the chat template where there is one.

    Args:
        tokenizer: the model's.
        texts: prompts; those without room are left out.
        max_model_len: tokens that the model has room for.
        reserved: of them, for the answer and its drafts.

    Raises:
        ConfigError: no prompt has room.
    """
    longest = max_model_len - reserved
    require(
        longest > 0,
        f"answers leave no room for a prompt: the model was made for {longest + reserved} tokens, "
        f"and {reserved} are the answer's and its drafts': give fewer --max-tokens",
    )
    encoded = [encode_text(tokenizer, text) for text in texts]
    found = [ids for ids in encoded if len(ids) <= longest]
    require(
        bool(found),
        f"each prompt is longer than the {longest} tokens that the model has room for: give "
        "shorter ones, or fewer --max-tokens",
    )
    return found


def _profile(
    runner: ModelRunner,
    checkpoint: Checkpoint,
    configs: Mapping[str, SpeculativeConfig],
    context: int,
    model: str,
    seconds: float,
    tick: Tick,
) -> Profile:
    """Time steps and drafts in turns, until the time is over."""
    from fairdraft.profiling import WARM_UP, ProfileGrid, Profiler
    from fairdraft.telemetry.environment import benchmark_environment

    grid = ProfileGrid(LOADS, KS, (context,), prefill=PREFILL)
    profiler = Profiler(runner, grid, list(configs.values()), checkpoint.tokenizer)
    end, rounds = monotonic() + seconds, 0
    while rounds < WARM_UP + LEAST_ROUNDS or monotonic() < end:
        profiler.round(tick)
        rounds += 1
    return profiler.profile(model, benchmark_environment())


def _acceptance(
    runner: ModelRunner,
    checkpoint: Checkpoint,
    config: SpeculativeConfig,
    prompts: Sequence[Sequence[int]],
    max_tokens: int,
    seconds: float,
    tick: Tick,
) -> Acceptance | None:
    """Return the acceptance of a drafter on the prompts; None if it drafted nothing."""
    from fairdraft.economics.planning.acceptance import Acceptance
    from fairdraft.profiling import count_acceptance

    counts = count_acceptance(
        runner,
        checkpoint.tokenizer,
        checkpoint.eos_token_ids,
        config,
        prompts,
        max_tokens,
        max(LOADS),
        seconds,
        lambda: tick(f"acceptance of {config.method}"),
    )
    if not counts.num_drafts:
        return None
    return Acceptance.of_counts(
        counts.num_drafts,
        counts.accepted_per_pos,
        counts.num_steps,
        counts.drafted_per_pos,
        config.method,
    )
