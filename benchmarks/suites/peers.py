"""fairdraft beside its peers: same model, same prompts, one machine, turns taken.

    make vllm; python -m benchmarks.suites.peers [--dataset mixed]

Every engine runs in a process of its own (`workers/`) and only one of them computes at a time. For
each batch of prompts the engines go one after another, A B C A B C ..., so that a slow minute of
the machine is a slow minute for all of them; ratios are taken within a round before their median.
Whole generate calls are timed, prefill included; loading and a short batch to warm up are not.
`auto` is measured in fairdraft alone, beside its own off. "mixed" is eight prompts of 40 to 800
tokens, the longer ones behind others of their dataset.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from statistics import median
from typing import Annotated, Any, NamedTuple

import typer
from rich.console import Console
from rich.table import Table
from transformers import AutoTokenizer

from benchmarks.checkpoints import demo_folder
from benchmarks.constants import NGRAM, WORK
from benchmarks.keeping import split_rows, write_result
from benchmarks.prompts import MIXED, chat_prompts, mixed_prompts
from benchmarks.workers.process import WorkerProcess
from fairdraft.stats.side_by_side import median_ratio

ENGINES = ["transformers", "vllm", "fairdraft"]
METHODS: dict[str, dict[str, Any] | None] = {
    "off": None,
    "ngram": NGRAM,
    "auto": {"method": "auto"},
}
MIXED_NAME = "mixed"  # of the prompts of `mixed_prompts`, which are no dataset
VLLM = WORK / "vllm" / "bin" / "python"  # where `make vllm` puts it
# OpenMP threads, and vLLM waiting for work, spin for up to a second; the next engine sits it out.
SETTLE_SECONDS = 1.5
WARM_UP = 8  # tokens of the prompts that warm up, and of their texts

Prompts = list[list[int]]


class Config(NamedTuple):
    """One line of the comparison."""

    engine: str
    method: str
    streams: int


class Sample(NamedTuple):
    """One timed batch of prompts."""

    round: int
    others: float  # cores that somebody else kept busy just before
    seconds: float
    tokens: int
    token_ids: Prompts
    counts: dict[str, int]  # drafted and accepted tokens, where the engine's worker tells them


class Peer:
    """One engine, off or speculating, in a process of its own."""

    def __init__(self, python: Path | str, engine: str, model: Path, method: str) -> None:
        speculative = json.dumps(METHODS[method])
        words = ["-m", f"benchmarks.workers.{engine}_worker"]
        words += ["--model", str(model.absolute()), "--speculative", speculative]
        self.name = f"{engine} {method}"
        self.process = WorkerProcess(python, words)
        self.about: dict[str, Any] = self.process.answer()

    def generate(self, prompts: Prompts, max_tokens: int) -> dict[str, Any]:
        """Answer the prompts at once: seconds, tokens and token_ids."""
        answer: dict[str, Any] = self.process.ask({"prompts": prompts, "max_tokens": max_tokens})
        if answer["tokens"] != len(prompts) * max_tokens:
            raise RuntimeError(f"{self.name} stopped early: {answer['tokens']} tokens")
        return answer


def take_turns(
    peers: dict[tuple[str, str], Peer],
    configs: list[Config],
    prompts: Prompts,
    rounds: int,
    max_tokens: int,
) -> dict[Config, list[Sample]]:
    """Run all configs interleaved, after a short batch each to warm up."""
    samples: dict[Config, list[Sample]] = {config: [] for config in configs}
    for config in configs:
        brief = [prompt[:WARM_UP] for prompt in prompts[: config.streams]]
        peers[config.engine, config.method].generate(brief, WARM_UP)
    for number in range(rounds):
        for streams in sorted({config.streams for config in configs}):
            for start in range(0, len(prompts), streams):
                for config in [c for c in configs if c.streams == streams]:
                    time.sleep(SETTLE_SECONDS)
                    others = busy_cores(seconds=0.5)
                    peer = peers[config.engine, config.method]
                    answer = peer.generate(prompts[start : start + streams], max_tokens)
                    samples[config].append(Sample(number, others, **answer))
        print(f"round {number + 1} of {rounds} done", file=sys.stderr)
    return samples


def throughputs(samples: list[Sample]) -> list[float]:
    """Return tokens per second of each round, over all its batches."""
    rounds: dict[int, list[Sample]] = {}
    for sample in samples:
        rounds.setdefault(sample.round, []).append(sample)
    return [sum(s.tokens for s in r) / sum(s.seconds for s in r) for r in rounds.values()]


def ratios(rates: dict[Config, list[float]]) -> dict[str, float]:
    """Return fairdraft over each peer in the same setting, and over its own off.

    Medians of the rounds' own ratios.
    """
    found = {}
    for ours in (config for config in rates if config.engine == "fairdraft"):
        where = f"{ours.method}, {ours.streams} streams: fairdraft /"
        for peer in rates:
            same = ours[1:] == peer[1:] and peer.engine != ours.engine
            own_off = peer == ours._replace(method="off") != ours
            if same or own_off:
                name = "its own off" if own_off else peer.engine
                found[f"{where} {name}"] = median_ratio(rates[ours], rates[peer])
    return found


def counted(samples: list[Sample]) -> dict[str, int]:
    """Return the first round's drafted and accepted tokens; the others draft the same again."""
    totals: dict[str, int] = {}
    for sample in samples:
        for name, count in sample.counts.items() if sample.round == 0 else ():
            totals[name] = totals.get(name, 0) + count
    return totals


def agreement(samples: list[Sample], reference: list[Sample]) -> float:
    """Return the share of the tokens up to where outputs part: in bf16 near-ties fall either way.

    Reported because acceptance, and so speed, hangs on the text that an engine happens to write.
    """

    def outputs(taken: list[Sample]) -> Prompts:
        return [ids for sample in taken if sample.round == 0 for ids in sample.token_ids]

    same = total = 0
    for ours, theirs in zip(outputs(samples), outputs(reference), strict=True):
        differs = [a != b for a, b in zip(ours, theirs, strict=True)]
        same += [*differs, True].index(True)
        total += len(ours)
    return same / total


def busy_cores(seconds: float) -> float:
    """Count the cores in use right now: none of ours is, so this is noise of the machine."""

    def busy() -> float:
        user, nice, system = Path("/proc/stat").read_text().split()[1:4]
        return (int(user) + int(nice) + int(system)) / os.sysconf("SC_CLK_TCK")

    before = busy()
    time.sleep(seconds)
    return (busy() - before) / seconds


def main(
    model: Annotated[
        Path | None, typer.Option(help="Checkpoint folder, read by every engine; the demo model.")
    ] = None,
    vllm_python: Annotated[Path, typer.Option(help="Without it vLLM is left out.")] = VLLM,
    dataset: Annotated[
        str, typer.Option(help=f"As for `fairdraft bench run`, or {MIXED_NAME}.")
    ] = "humaneval",
    prompts: Annotated[int, typer.Option(min=1, help="Of a dataset.")] = len(MIXED),
    rounds: Annotated[int, typer.Option(min=1)] = 5,
    max_tokens: Annotated[int, typer.Option(min=1)] = 128,
    many: Annotated[int, typer.Option(min=2, max=8, help="Streams of the batched settings.")] = 8,
    engine: Annotated[list[str] | None, typer.Option(help="Only these; all by default.")] = None,
    method: Annotated[list[str] | None, typer.Option(help="Only these; all by default.")] = None,
    name: Annotated[
        str | None, typer.Option(help=f"Of the result: peers, or peers_{MIXED_NAME}.")
    ] = None,
) -> None:
    """Measure all engines in turns and keep the result."""
    if prompts % many:
        raise typer.BadParameter(f"--prompts must be a multiple of {many}: no half-filled batch")
    engines = [e for e in engine or ENGINES if e != "vllm" or vllm_python.exists()]
    configs = [
        Config(which, how, streams)
        for streams in (1, many)
        for how in method or METHODS
        for which in engines
        if (streams == 1 or which != "transformers")  # its assisted generation is batch 1 only
        and (how != "auto" or which == "fairdraft")
    ]
    folder = model or demo_folder()
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    mixed = dataset == MIXED_NAME
    token_ids = mixed_prompts(tokenizer) if mixed else chat_prompts(tokenizer, prompts, (dataset,))
    if len(token_ids) < prompts:
        raise typer.BadParameter(f"{dataset} has only {len(token_ids)} prompts")
    peers: dict[tuple[str, str], Peer] = {}
    try:
        for which, how in dict.fromkeys((c.engine, c.method) for c in configs):
            python = vllm_python if which == "vllm" else Path(sys.executable)
            peers[which, how] = Peer(python, which, folder, how)
        samples = take_turns(peers, configs, token_ids, rounds, max_tokens)
    finally:
        for peer in peers.values():
            peer.process.stop()

    rates = {config: throughputs(taken) for config, taken in samples.items()}
    rows = [
        {
            **config._asdict(),
            "tokens_per_second": median(rates[config]),
            "rounds": rates[config],
            "agreement": agreement(samples[config], samples[configs[0]]),
            **counted(samples[config]),
            "samples": [[s.round, s.seconds, s.others] for s in samples[config]],
        }
        for config in configs
    ]
    brief, raw = split_rows(rows, "samples")
    summary = {
        "versions": {which: peer.about["versions"] for (which, _), peer in peers.items()},
        "modes": {which: peer.about["mode"] for (which, _), peer in peers.items()},
        "settings": {
            "model": folder.name,
            "dtype": "bfloat16",
            "dataset": dataset,
            "prompt_tokens": [len(ids) for ids in token_ids],
            "max_tokens": max_tokens,
            "rounds": rounds,
            "speculative": METHODS,
        },
        "configs": brief,
        "ratios": ratios(rates),
    }
    result = name or (f"peers_{MIXED_NAME}" if mixed else "peers")
    write_result(result, summary, {"configs": raw})
    show(summary, [s.others for taken in samples.values() for s in taken])


def show(result: dict[str, Any], noise: list[float]) -> None:
    """Print speeds and ratios, and whether the machine was busy with something else."""
    console = Console()
    speeds = Table(title=f"{result['settings']['model']} in bfloat16, medians of rounds")
    columns = ("streams", "speculation", "engine", "tok/s", "min - max", "ms/token", "same")
    for column in (*columns, "drafted"):
        speeds.add_column(column, justify="left" if column == "engine" else "right")
    for row in result["configs"]:
        speeds.add_row(
            str(row["streams"]),
            row["method"],
            row["engine"],
            f"{row['tokens_per_second']:.1f}",
            f"{min(row['rounds']):.1f} - {max(row['rounds']):.1f}",
            f"{1000 * row['streams'] / row['tokens_per_second']:.1f}",
            f"{row['agreement']:.0%}",
            str(row.get("drafted", "–")),
        )
    console.print(speeds)
    for name, ratio in result["ratios"].items():
        console.print(f"{name}: {ratio:.2f}")
    if noisy := sum(others > 0.2 for others in noise):
        console.print(f"{noisy} of {len(noise)} samples began on a busy machine: run it alone")


if __name__ == "__main__":
    typer.run(main)
