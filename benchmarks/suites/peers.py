"""fairdraft beside its peers: same model, same prompts, one machine, turns taken.

    python -m benchmarks.suites.peers --model DIR --vllm-python PYTHON

Every engine runs in a process of its own (`workers/`) and only one of them computes at a time. For
each batch of prompts the engines go one after another, A B C A B C ..., so that a slow minute of
the machine is a slow minute for all of them; ratios are taken within a round before their median.
Whole generate calls are timed, prefill included; loading and a first batch to warm up are not.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Annotated, Any, NamedTuple

import typer
from rich.console import Console
from rich.table import Table
from transformers import AutoTokenizer

ROOT = Path(__file__).resolve().parent.parent.parent
HUMANEVAL = ROOT / "fairdraft/data/humaneval.jsonl"
LOOKUP = {"num_speculative_tokens": 4, "prompt_lookup_max": 4, "prompt_lookup_min": 2}
NGRAM = {"method": "ngram", **LOOKUP}
ENGINES = ["transformers", "vllm", "fairdraft"]
# OpenMP threads, and vLLM waiting for work, spin for up to a second; the next engine sits it out.
SETTLE_SECONDS = 1.5

Prompts = list[list[int]]


class Config(NamedTuple):
    """One line of the comparison."""

    engine: str
    method: str
    streams: int


class Sample(NamedTuple):
    round: int
    others: float  # cores that somebody else kept busy just before
    seconds: float
    tokens: int
    token_ids: Prompts


class Worker:
    """One engine in its own process; it computes only between a job and its answer."""

    def __init__(self, python: Path, engine: str, model: Path, method: str) -> None:
        command = [str(python), "-m", f"benchmarks.workers.{engine}_worker"]
        speculative = json.dumps(NGRAM if method == "ngram" else None)
        self.name = f"{engine} {method}"
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - lives as long as the process
        self.process = subprocess.Popen(
            [*command, "--model", str(model.absolute()), "--speculative", speculative],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            start_new_session=True,  # a group of its own, to end vLLM's child processes with it
        )
        self.versions: dict[str, str] = self._answer()["versions"]

    def generate(self, prompts: Prompts, max_tokens: int) -> dict[str, Any]:
        assert self.process.stdin
        job = {"prompts": prompts, "max_tokens": max_tokens}
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        answer = self._answer()
        if answer["tokens"] != len(prompts) * max_tokens:
            raise RuntimeError(f"{self.name} stopped early: {answer['tokens']} tokens")
        return answer

    def stop(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=30)
        with contextlib.suppress(ProcessLookupError):  # gone already, as it should be
            os.killpg(self.process.pid, signal.SIGKILL)
        self.log.close()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            self.log.seek(0)
            raise RuntimeError(f"{self.name} died:\n{self.log.read()[-4000:]}")
        return dict(json.loads(line))


def read_prompts(path: Path, model: Path, count: int) -> Prompts:
    """Chat prompts as token ids, so that every engine sees the very same input."""
    tokenizer: Any = AutoTokenizer.from_pretrained(model)
    records = [json.loads(line) for line in path.read_text().splitlines()[:count]]
    if len(records) < count:
        raise typer.BadParameter(f"{path} has only {len(records)} prompts")
    return [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": record["prompt"]}],
            add_generation_prompt=True,
            return_dict=False,
        )
        for record in records
    ]


def measure(
    workers: dict[tuple[str, str], Worker],
    configs: list[Config],
    prompts: Prompts,
    rounds: int,
    max_tokens: int,
) -> dict[Config, list[Sample]]:
    """The interleaved run, after a batch each to warm up."""
    samples: dict[Config, list[Sample]] = {config: [] for config in configs}
    for config in configs:
        workers[config.engine, config.method].generate(prompts[: config.streams], max_tokens)
    for number in range(rounds):
        for streams in sorted({config.streams for config in configs}):
            for start in range(0, len(prompts), streams):
                for config in [c for c in configs if c.streams == streams]:
                    time.sleep(SETTLE_SECONDS)
                    others = busy_cores(seconds=0.5)
                    worker = workers[config.engine, config.method]
                    answer = worker.generate(prompts[start : start + streams], max_tokens)
                    samples[config].append(Sample(number, others, **answer))
        print(f"round {number + 1} of {rounds} done", file=sys.stderr)
    return samples


def throughputs(samples: list[Sample]) -> list[float]:
    """Tokens per second of each round, over all its batches."""
    rounds: dict[int, list[Sample]] = {}
    for sample in samples:
        rounds.setdefault(sample.round, []).append(sample)
    return [sum(s.tokens for s in r) / sum(s.seconds for s in r) for r in rounds.values()]


def ratios(rates: dict[Config, list[float]]) -> dict[str, float]:
    """fairdraft over each peer in the same setting: medians of the rounds' own ratios."""
    return {
        f"{ours.method}, {ours.streams} streams: fairdraft / {peer.engine}": median(
            ours_rate / peer_rate
            for ours_rate, peer_rate in zip(rates[ours], rates[peer], strict=True)
        )
        for ours in rates
        for peer in rates
        if ours.engine == "fairdraft" != peer.engine and ours[1:] == peer[1:]
    }


def agreement(samples: list[Sample], reference: list[Sample]) -> float:
    """Share of the tokens up to where the outputs part: in bf16 near-ties fall either way.

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
    """Cores in use right now. None of ours is, so this is the noise the next sample starts in."""

    def busy() -> float:
        user, nice, system = Path("/proc/stat").read_text().split()[1:4]
        return (int(user) + int(nice) + int(system)) / os.sysconf("SC_CLK_TCK")

    before = busy()
    time.sleep(seconds)
    return (busy() - before) / seconds


def hardware() -> dict[str, Any]:
    cpuinfo = Path("/proc/cpuinfo").read_text().splitlines()
    field = {key.strip(): value.strip() for key, _, value in (x.partition(":") for x in cpuinfo)}
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": field.get("model name", "unknown"),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory / 2**30, 1),
    }


def commit() -> str:
    command = ["git", "describe", "--always", "--exclude=*", "--abbrev=40", "--dirty"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.strip()


def main(
    model: Annotated[Path, typer.Option(help="Checkpoint folder, read by every engine.")],
    vllm_python: Annotated[Path | None, typer.Option(help="Without it vLLM is left out.")] = None,
    dataset: Annotated[Path, typer.Option(help="JSONL with a field `prompt`.")] = HUMANEVAL,
    prompts: Annotated[int, typer.Option(min=1)] = 8,
    rounds: Annotated[int, typer.Option(min=1)] = 5,
    max_tokens: Annotated[int, typer.Option(min=1)] = 128,
    many: Annotated[int, typer.Option(min=2, max=8, help="Streams of the batched settings.")] = 8,
    engine: Annotated[list[str] | None, typer.Option(help="Only these; all by default.")] = None,
    out: Annotated[Path, typer.Option()] = ROOT / "benchmarks/results/peers.json",
) -> None:
    if prompts % many:
        raise typer.BadParameter(f"--prompts must be a multiple of {many}: no half-filled batch")
    engines = [e for e in engine or ENGINES if e != "vllm" or vllm_python]
    configs = [
        Config(name, method, streams)
        for streams in (1, many)
        for method in ("off", "ngram")
        for name in engines
        if streams == 1 or name != "transformers"  # its assisted generation is batch 1 only
    ]
    token_ids = read_prompts(dataset, model, prompts)
    pythons = {"vllm": vllm_python}
    workers: dict[tuple[str, str], Worker] = {}
    try:
        for name, method in dict.fromkeys((c.engine, c.method) for c in configs):
            python = pythons.get(name) or Path(sys.executable)
            # Not resolve(): a virtual environment is known by the path of its own link.
            workers[name, method] = Worker(python.absolute(), name, model, method)
        samples = measure(workers, configs, token_ids, rounds, max_tokens)
    finally:
        for worker in workers.values():
            worker.stop()

    rates = {config: throughputs(taken) for config, taken in samples.items()}
    result = {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "hardware": hardware(),
        "versions": {name: worker.versions for (name, _), worker in workers.items()},
        "settings": {
            "model": model.name,
            "dtype": "bfloat16",
            "dataset": dataset.name,
            "prompt_tokens": [len(ids) for ids in token_ids],
            "max_tokens": max_tokens,
            "rounds": rounds,
            "speculative": NGRAM,
        },
        "configs": [
            {
                **config._asdict(),
                "tokens_per_second": median(rates[config]),
                "rounds": rates[config],
                "agreement": agreement(samples[config], samples[configs[0]]),
                "samples": [[s.round, s.seconds, s.others] for s in samples[config]],
            }
            for config in configs
        ],
        "ratios": ratios(rates),
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n")
    show(result)


def show(result: dict[str, Any]) -> None:
    console = Console()
    speeds = Table(title=f"{result['settings']['model']} in bfloat16, medians of rounds")
    for column in ("streams", "speculation", "engine", "tok/s", "min - max", "ms/token", "same"):
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
        )
    console.print(speeds)
    for name, ratio in result["ratios"].items():
        console.print(f"{name}: {ratio:.2f}")
    noise = [others for row in result["configs"] for _, _, others in row["samples"]]
    if noisy := sum(others > 0.2 for others in noise):
        console.print(f"{noisy} of {len(noise)} samples began on a busy machine: run it alone")


if __name__ == "__main__":
    typer.run(main)
