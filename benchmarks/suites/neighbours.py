"""What engines do beside other work: tokens a second with 0, 1 and 2 busy processes next to them.

A busy process is a Python loop that never rests. fairdraft, transformers and vLLM (if `make vllm`
was run) go on from the same few tokens, each in a process of its own; engines take turns within a
load, and loads within a round, another first each time. Ratios are to the same engine's own idle
rate in the same round.

    python -m benchmarks.suites.neighbours [--tokens 24] [--many-tokens 12]
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from transformers import AutoTokenizer

from benchmarks.checkpoints import demo_folder
from benchmarks.interleave import rounds
from benchmarks.keeping import write_result
from benchmarks.prompts import text_of
from benchmarks.suites.peers import ENGINES, SETTLE_SECONDS, VLLM, Peer
from fairdraft.stats.side_by_side import median_ratio

LOADS = (0, 1, 2)  # busy processes
MANY = 8  # streams
PROMPT = 8  # tokens of each: it is writing that is measured, not reading
BUSY = "while True: pass"

Rates = dict[tuple[str, int, int], list[float]]  # engine, streams and load → tokens a second


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Keep so many processes busy meanwhile."""
    processes = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def take_turns(
    peers: dict[str, Peer],
    prompts: list[list[int]],
    tokens: dict[int, int],
    loads: tuple[int, ...],
    most: int,
    minutes: float,
) -> Rates:
    """Return the rates of every engine at every number of streams and load, round by round.

    Args:
        peers: by engine.
        prompts: as many as the most streams.
        tokens: new ones of each text, by streams.
        loads: busy processes.
        most, minutes: as for `interleave.rounds`.
    """
    found: Rates = {key: [] for key in itertools.product(peers, tokens, loads)}
    names = list(peers)
    for number in rounds(most, minutes):
        for streams in tokens:
            # The first round, which does not count, warms up without neighbours.
            first = number % len(loads)
            for load in [*loads[first:], *loads[:first]] if number else loads[:1]:
                start = number % len(names)
                for name in [*names[start:], *names[:start]]:
                    time.sleep(SETTLE_SECONDS)
                    with busy(load):
                        answer = peers[name].generate(prompts[:streams], tokens[streams])
                    if number:
                        rate = answer["tokens"] / answer["seconds"]
                        found[name, streams, load].append(rate)
    return found


def summarise(found: Rates) -> list[dict[str, Any]]:
    """Return a row for each engine, number of streams and load."""
    idle = min(load for _, _, load in found)
    return [
        {
            "engine": name,
            "streams": streams,
            "busy": load,
            "tokens_per_second": median(rates),
            "over_idle": median_ratio(rates, found[name, streams, idle]),
            "rates": rates,
        }
        for (name, streams, load), rates in found.items()
    ]


def main() -> None:
    """Measure, print a line a setting, and keep the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--engines", default=",".join(ENGINES))
    parser.add_argument("--loads", default=",".join(map(str, LOADS)), help="busy processes")
    parser.add_argument("--tokens", type=int, default=32, help="of the text at one stream")
    parser.add_argument("--many-tokens", type=int, default=16, help=f"of each of {MANY}")
    parser.add_argument("--rounds", type=int, default=5, help="at most")
    parser.add_argument("--minutes", type=float, default=8, help="after which no round begins")
    parser.add_argument("--vllm-python", type=Path, default=VLLM, help="without it, vLLM is out")
    parser.add_argument("--name", default="neighbours", help="of the result")
    options = parser.parse_args()
    folder = demo_folder()
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    text = text_of(tokenizer, MANY * PROMPT)
    prompts = [text[i : i + PROMPT] for i in range(0, len(text), PROMPT)]
    tokens = {1: options.tokens, MANY: options.many_tokens}
    loads = tuple(map(int, options.loads.split(",")))
    peers: dict[str, Peer] = {}
    try:
        for engine in options.engines.split(","):
            if engine == "vllm" and not options.vllm_python.exists():
                print(f"{options.vllm_python} is not there (make vllm): vLLM is left out")
                continue
            python = options.vllm_python if engine == "vllm" else Path(sys.executable)
            peers[engine] = Peer(python, engine, folder, "off")
        found = take_turns(peers, prompts, tokens, loads, options.rounds, options.minutes)
    finally:
        for peer in peers.values():
            peer.process.stop()
    rows = summarise(found)
    for row in rows:
        print(
            f"{row['engine']:12} {row['streams']} streams, {row['busy']} busy: "
            f"{row['tokens_per_second']:6.1f} tok/s, {row['over_idle']:.2f} of idle"
        )
    summary = {
        "model": folder.name,
        "dtype": "bfloat16",
        "tokens": {str(streams): count for streams, count in tokens.items()},
        "versions": {name: peer.about["versions"] for name, peer in peers.items()},
        "rows": rows,
    }
    write_result(options.name, summary)


if __name__ == "__main__":
    main()
