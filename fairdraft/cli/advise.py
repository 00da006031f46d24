"""`fairdraft advise`: whether to speculate with a model here, with which drafter, and its worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from fairdraft.bench.datasets import DATASETS, load_prompts
from fairdraft.cli.advise_measure import KS, LOADS, SPARE, gib, load, measure
from fairdraft.cli.options import Device, Dtype, speculative_config, words
from fairdraft.cli.outputs import fold, require_writable, write_json
from fairdraft.config import DTYPES, SpeculativeConfig, require, require_int

if TYPE_CHECKING:
    from fairdraft.economics.costs.profile import Profile
    from fairdraft.economics.planning.plan import Plan
    from fairdraft.models.memory import MemoryNeed

PROMPTS = 8
SHIPPED = "eagle3"  # the head for the demo model that is tried with it
CHOOSERS = ("auto", "hybrid")  # methods that draft nothing of their own


def advise(
    model: Annotated[str, typer.Argument(help='Hub id, folder, GGUF file, or "demo".')],
    prompts: Annotated[
        str | None, typer.Option(help="JSONL file of your prompts; shipped ones by default.")
    ] = None,
    methods: Annotated[
        str, typer.Option(help="Drafters to try, by name. Heads that ship are tried too.")
    ] = "ngram,suffix",
    speculative_json: Annotated[
        list[str] | None,
        typer.Option(
            "--speculative-config",
            metavar="JSON",
            help="vLLM's keys, for a drafter with a checkpoint; repeat.",
        ),
    ] = None,
    max_tokens: Annotated[int, typer.Option(help="Tokens of each answer.")] = 96,
    minutes: Annotated[float, typer.Option(help="How long to measure.")] = 1.0,
    dtype: Dtype = "auto",
    device: Device = "auto",
    out: Annotated[Path | None, typer.Option(help="Where the advice goes as JSON.")] = None,
) -> None:
    """Measure a model here for a minute, and say whether to speculate, how, and what it is worth.

    Memory is worked out before the weights are read. Then steps are timed with one request and with
    eight, and each drafter's acceptance is counted on prompts, greedily. The figures are of whole
    runs of such prompts and answers, reading them included.
    """
    require(dtype in DTYPES, f"dtype is {dtype!r}, but must be one of {', '.join(DTYPES)}")
    require(0 < minutes <= 60, f"--minutes is {minutes:g}, but must lie in (0, 60]: 1 is usual")
    require_int("--max-tokens", max_tokens, 8, "96 is usual")
    if out is not None:
        require_writable("--out", out)
    texts = _texts(prompts)
    configs = _configs(model, words(methods), speculative_json or [])

    need, free, checkpoint = load(model, dtype, device)
    console = Console()
    for sentence in _memory_sentences(model, need, free):
        console.print(fold(sentence, console.width), highlight=False)
    profile, found = measure(model, checkpoint, configs, texts, max_tokens, minutes * 60)
    _show(console, found, configs)
    if out is not None:
        write_json(out, _record(model, need, free, profile, found, configs))
        print(f"Written to {out}")


def _texts(prompts: str | None) -> list[str]:
    """Return the given prompts, or as many of each shipped kind."""
    if prompts is not None:
        return load_prompts(prompts, PROMPTS)
    return [text for name in DATASETS for text in load_prompts(name, PROMPTS // len(DATASETS))]


def _configs(
    model: str, methods: Sequence[str], given: Sequence[str]
) -> dict[str, SpeculativeConfig]:
    """Return drafters to try, by method."""
    from fairdraft.heads import shipped_head
    from fairdraft.models.checkpoints import DEMO
    from fairdraft.proposers import build_proposer

    found = {name: SpeculativeConfig(name, max(KS)) for name in methods if name != "none"}
    if model == DEMO:
        folder = shipped_head(model, SHIPPED)
        found.setdefault(SHIPPED, SpeculativeConfig(SHIPPED, model=folder))
    for text in given:
        config = speculative_config("", 0, text)
        if config is not None:
            found[config.method] = config
    for config in found.values():
        require(
            config.method not in CHOOSERS,
            f"--methods names {config.method!r}, which chooses among drafters by itself: name the "
            "drafters it may choose from, such as ngram,suffix",
        )
        build_proposer(config)  # before the model, so that a misspelt name is told at once
    require(bool(found), "--methods names no drafter: give one at least, such as ngram")
    return found


def _memory_sentences(model: str, need: MemoryNeed, free: int) -> list[str]:
    tokens = need.tokens(int(free * SPARE))
    each = min(tokens // max(LOADS), need.max_model_len)
    return [
        f"{model}: {need.parameters / 1e6:.0f} million parameters, {gib(need.weight_bytes)} of "
        f"weights, {need.kv_bytes_per_token / 1024:.1f} KiB of KV a token.",
        f"Memory: {gib(free)} free. It fits, with KV for {tokens:,} tokens in all, "
        f"{each:,} of each of {max(LOADS)} requests; the model was made for "
        f"{need.max_model_len:,} tokens a text.",
    ]


def _show(console: Console, found: Plan, configs: Mapping[str, SpeculativeConfig]) -> None:
    """Print what is gained at each load, the advice, and the lines to paste."""
    from fairdraft.cli import plan_report as report
    from fairdraft.peers.flags import ENGINES

    best = found.best_method
    console.print()
    console.print(report.method_table(found))
    for sentence in advice(found):
        console.print(fold(sentence, console.width), highlight=False)
    if not found.static_k(best):
        return
    print("\nTo paste:")
    drafter = configs[best].model
    for engine in ENGINES:
        print(f"  {engine}: {report.paste_line(found, best, engine, drafter)}")


def advice(found: Plan) -> list[str]:
    """Return one sentence a load: on or off, with which drafter and k, and tokens per second.

    Args:
        found: drafters priced at `LOADS`.
    """
    sentences = []
    for n in found.concurrencies:
        choices = [found.choices[method, n] for method in found.methods]
        cells = [choice.cell for choice in choices if choice is not None]
        off = found.cells[found.methods[0], n, 0]
        if not cells or off is None:
            continue
        best = max(cells, key=lambda cell: cell.speedup.value if cell.k else 1.0)
        who = "1 request" if n == 1 else f"{n} requests"
        plain = off.tokens_per_second
        if not best.k:
            sentences.append(
                f"{who}: leave it off, {plain.value:.0f} tokens/s; no draft length of "
                f"{', '.join(found.methods)} is surely faster."
            )
            continue
        rate, gain = best.tokens_per_second, best.speedup
        sentences.append(
            f"{who}: {best.method} with k = {best.k}, {rate.value:.0f} tokens/s "
            f"({rate.low:.0f} to {rate.high:.0f}) where off gives {plain.value:.0f}: "
            f"{gain.value:.2f}× ({gain.low:.2f} to {gain.high:.2f})."
        )
    return sentences


def _record(
    model: str,
    need: MemoryNeed,
    free: int,
    profile: Profile,
    found: Plan,
    configs: Mapping[str, SpeculativeConfig],
) -> dict[str, Any]:
    from fairdraft.economics.planning.record import plan_record

    return {
        "kind": "fairdraft advice",
        "model": model,
        "environment": dict(profile.environment),
        "weight_bytes": need.weight_bytes,
        "kv_bytes_per_token": need.kv_bytes_per_token,
        "free_bytes": free,
        "drafters": {name: config.model for name, config in configs.items()},
        "advice": advice(found),
        "plan": plan_record(found),
    }
