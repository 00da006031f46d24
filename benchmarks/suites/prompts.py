"""How long prompts take to read: ours beside transformers', and the first token beside vLLM's.

Prompts of 64 to 4,000 tokens, one at a time. fairdraft as it comes (batch-invariant, in chunks of
512 rows), from the call to its first token; transformers' forward with
scaled_dot_product_attention, which hands back the likeliest token too, in the same process with as
many threads; vLLM to its first token in a process of its own, if `make vllm` was run. They take
turns, another first each time; ratios are taken within a turn before their median. A processor
without instructions for bfloat16 makes torch slow there: --dtype float32 compares the other way.

    python -m benchmarks.suites.prompts [--lengths 64,512,2000,4000]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from benchmarks.checkpoints import demo_folder
from benchmarks.interleave import rounds
from benchmarks.keeping import write_result
from benchmarks.prompts import text_of
from benchmarks.suites.peers import SETTLE_SECONDS, VLLM, Peer
from fairdraft import LLM, SamplingParams
from fairdraft.bench.measurement import measure
from fairdraft.stats.side_by_side import estimated_median_ratio

ONE_TOKEN = SamplingParams(temperature=0, max_tokens=1, ignore_eos=True)
TURN_TOKENS = 1024  # read in a round, about, of a short length

Read = Callable[[list[int]], float]


def ours(folder: Path, dtype: str, longest: int) -> tuple[LLM, Read]:
    """Return fairdraft and what reads a prompt with it: seconds to the first token."""
    llm = LLM(str(folder), dtype=dtype, max_model_len=longest + 1)
    calls = iter(range(10**9))

    def read(prompt: list[int]) -> float:
        # A salt of its own: no call finds the prefix that the one before it left.
        return measure(llm, [prompt], ONE_TOKEN, str(next(calls))).seconds

    return llm, read


def theirs(folder: Path, dtype: str) -> Read:
    """Return what reads a prompt with transformers: seconds to the likeliest token."""
    model: Any = AutoModelForCausalLM.from_pretrained(
        folder, dtype=getattr(torch, dtype), attn_implementation="sdpa"
    ).eval()

    def read(prompt: list[int]) -> float:
        start = perf_counter()
        with torch.inference_mode():
            logits = model(torch.tensor([prompt]), use_cache=True, logits_to_keep=1).logits
            int(logits[0, -1].argmax())
        return perf_counter() - start

    return read


def turns_of(length: int, most: int) -> int:
    """Return how often a prompt of so many tokens is read in a round: short ones several times."""
    return max(1, min(most, TURN_TOKENS // length))


def take_turns(
    readers: dict[str, Read],
    prompts: Sequence[list[int]],
    turns: int,
    most: int,
    minutes: float,
    settle: float,
) -> dict[int, dict[str, list[float]]]:
    """Return seconds by length of prompt and reader, turn by turn.

    Args:
        readers: by name.
        prompts: the first one warms up.
        turns: of a short prompt in each round, at most.
        most, minutes: as for `interleave.rounds`.
        settle: seconds of rest before each reading.
    """
    found: dict[int, dict[str, list[float]]] = {
        len(prompt): {name: [] for name in readers} for prompt in prompts
    }
    names = list(readers)
    for number in rounds(most, minutes):
        for prompt in prompts if number else prompts[:1]:
            for turn in range(turns_of(len(prompt), turns) if number else 1):
                first = (number + turn) % len(names)
                for name in [*names[first:], *names[:first]]:
                    time.sleep(settle)
                    seconds = readers[name](prompt)
                    if number:
                        found[len(prompt)][name].append(seconds)
    return found


def main() -> None:
    """Measure, print a line a length, and keep the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lengths", default="64,512,2000,4000", help="of the prompts, in tokens")
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16")
    parser.add_argument("--rounds", type=int, default=7, help="at most")
    parser.add_argument("--turns", type=int, default=5, help="of a short prompt a round, at most")
    parser.add_argument("--minutes", type=float, default=4, help="after which no round begins")
    parser.add_argument("--vllm-python", type=Path, default=VLLM, help="bfloat16 only")
    parser.add_argument("--name", default="prompts", help="of the result")
    options = parser.parse_args()
    folder = demo_folder()
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    prompts = [text_of(tokenizer, int(length)) for length in options.lengths.split(",")]
    llm, read = ours(folder, options.dtype, max(map(len, prompts)))
    readers = {"fairdraft": read, "transformers": theirs(folder, options.dtype)}
    peer = None
    if options.vllm_python.exists() and options.dtype == "bfloat16":
        peer = Peer(options.vllm_python, "vllm", folder, "off")
        generate = peer.generate
        readers["vllm"] = lambda prompt: float(generate([prompt], 1)["seconds"])
    else:
        print("vLLM is left out: it needs `make vllm`, and is run in bfloat16")
    # Only another process's threads have to come to rest first.
    settle = SETTLE_SECONDS if peer else 0.0
    try:
        found = take_turns(readers, prompts, options.turns, options.rounds, options.minutes, settle)
    finally:
        if peer:
            peer.process.stop()
    rows = []
    for length, samples in found.items():
        row: dict[str, Any] = {"tokens": length, "turns": len(samples["fairdraft"])}
        for name, seconds in samples.items():
            row[f"{name}_ms"] = 1e3 * median(seconds)
            if name != "fairdraft":
                ratio = estimated_median_ratio(samples["fairdraft"], seconds)
                row[f"over_{name}"] = [ratio.value, ratio.low, ratio.high]
        rows.append(row)
        told = "  ".join(
            f"{name} {row[f'{name}_ms']:.0f} ms"
            + (f" (ours / theirs {row[f'over_{name}'][0]:.2f})" if name != "fairdraft" else "")
            for name in samples
        )
        print(f"{length:5} tokens: {told}")
    summary = {
        "model": folder.name,
        "dtype": options.dtype,
        "batch_invariant": llm.runner.batch_invariant,
        "max_num_batched_tokens": llm.config.max_num_batched_tokens,
        "vllm": peer.about["versions"] if peer else None,
        "rows": rows,
    }
    write_result(options.name, summary, {"rows": [{"tokens": n, **s} for n, s in found.items()]})


if __name__ == "__main__":
    main()
