"""Batch invariance in bfloat16: bitwise equal texts, what that costs, and what happens without.

* 60 prompts, 256 tokens, greedy: off and n-gram, one stream and eight, with chunked prefill,
  prefix hits and a pool that preempts: every text must equal the first run's.
* Cost: the same eight-stream run with and without the mode, interleaved, and one prompt chunk.
* Flips: along texts of the target, how often the likeliest token of a one-row run differs from
  that of the same row in a five-row run: ours and transformers', float32 and bfloat16.

Every finished part is kept in benchmarks/work; run again, it goes on where it stopped.

    python -m benchmarks.suites.invariance
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Any

import torch
from transformers import DynamicCache

from benchmarks.constants import NGRAM, PROMPTS, WORK
from benchmarks.keeping import kept, write_result
from benchmarks.prompts import chat_prompts
from fairdraft import LLM, SamplingParams
from fairdraft.models import ModelRunner, load_checkpoint
from fairdraft.models.invariance import run_in_pieces
from fairdraft.stats.side_by_side import median_ratio

NUM_TOKENS = 256
# batch, n-gram, rows a step, blocks in the pool
RUNS: dict[str, tuple[int, bool, int, int | None]] = {
    "off, batch 8": (8, False, 512, None),
    "off, batch 1": (1, False, 512, None),
    "n-gram, batch 1": (1, True, 512, None),
    "n-gram, batch 8, chunks of 48, small pool": (8, True, 48, 90),
}
ROWS = 5


def texts(setting: tuple[int, bool, int, int | None], each: int) -> dict[str, Any]:
    batch, ngram, rows, blocks = setting
    llm = LLM(
        "demo",
        dtype="bfloat16",
        batch_invariant=True,
        max_model_len=1024,
        max_num_seqs=batch,
        max_num_batched_tokens=rows,
        num_gpu_blocks_override=blocks,
        speculative_config=NGRAM if ngram else None,
    )
    prompts = chat_prompts(llm.tokenizer, each)
    params = SamplingParams(temperature=0, max_tokens=NUM_TOKENS, ignore_eos=True)
    outputs = llm.generate([{"prompt_token_ids": p} for p in prompts], params, use_tqdm=True)
    return {
        "texts": [output.outputs[0].token_ids for output in outputs],
        "accepted": llm.counters.num_accepted_tokens,
        "preemptions": llm.engine.scheduler.num_preemptions,
        "cached_tokens": sum(output.num_cached_tokens for output in outputs),
    }


def cost(rounds: int) -> dict[str, list[float]]:
    """Seconds of 8 prompts × 64 tokens at eight streams, mode off and on, turns taken."""
    engines = {
        mode: LLM(
            "demo",
            dtype="bfloat16",
            batch_invariant=mode == "on",
            max_model_len=1024,
            enable_prefix_caching=False,
            speculative_config=NGRAM,
        )
        for mode in ("off", "on")
    }
    prompts = [
        {"prompt_token_ids": p} for p in chat_prompts(engines["on"].tokenizer, 8)[4:24:5]
    ] * 2
    params = SamplingParams(temperature=0, max_tokens=64, ignore_eos=True)
    samples: dict[str, list[float]] = {mode: [] for mode in engines}
    for number in range(rounds + 1):
        for mode, llm in engines.items():
            start = perf_counter()
            llm.generate(prompts, params)
            if number:
                samples[mode].append(perf_counter() - start)
    return samples


def prefill(rounds: int) -> dict[str, list[float]]:
    """Seconds of a 500-token prompt, mode off and on, turns taken."""
    samples: dict[str, list[float]] = {"off": [], "on": []}
    runners = {}
    for mode in samples:
        checkpoint = load_checkpoint("demo", "bfloat16", "cpu")
        runners[mode] = ModelRunner(checkpoint.model, batch_invariant=mode == "on")
        runners[mode].allocate(512, 1)
    for number in range(rounds + 1):
        for mode, runner in runners.items():
            start = perf_counter()
            run_in_pieces(runner, [(7 * i) % 900 for i in range(500)], (500,))
            if number:
                samples[mode].append(perf_counter() - start)
    return samples


def flips(dtype: str, some_texts: Callable[[], list[list[int]]]) -> dict[str, Any]:
    """Likeliest tokens that differ between one row and five, along given texts."""
    sequences = some_texts()
    checkpoint = load_checkpoint("demo", dtype, "cpu")
    eager = checkpoint.model.eval()
    counts = {"tokens": 0, "fairdraft": 0, "transformers": 0}
    for text in sequences:
        usable = text[: len(text) - (len(text) - 1) % ROWS]
        one = (1,) * len(usable)
        many = (1,) + (ROWS,) * ((len(usable) - 1) // ROWS)
        chosen = [_transformers_argmax(eager, usable, cut) for cut in (one, many)]
        counts["tokens"] += len(usable)
        counts["transformers"] += int((chosen[0] != chosen[1]).sum())
    runner = ModelRunner(checkpoint.model)
    for text in sequences:
        usable = text[: len(text) - (len(text) - 1) % ROWS]
        runner.allocate(len(usable), 1)
        one = (1,) * len(usable)
        many = (1,) + (ROWS,) * ((len(usable) - 1) // ROWS)
        chosen = [run_in_pieces(runner, usable, cut).argmax(-1) for cut in (one, many)]
        counts["fairdraft"] += int((chosen[0] != chosen[1]).sum())
    return counts


def _transformers_argmax(model: Any, token_ids: list[int], cut: tuple[int, ...]) -> torch.Tensor:
    cache, chosen, start = DynamicCache(), [], 0
    with torch.inference_mode():
        for length in cut:
            ids = torch.tensor([token_ids[start : start + length]])
            chosen.append(model(ids, past_key_values=cache, use_cache=True).logits[0].argmax(-1))
            start += length
    return torch.cat(chosen)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--each", type=int, default=PROMPTS, help="prompts of each dataset")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--flip-texts", type=int, default=6)
    parser.add_argument("--only", help="compute only this part, for running parts side by side")
    options = parser.parse_args()
    parts: dict[str, Callable[[], Any]] = {
        name: partial(texts, setting, options.each) for name, setting in RUNS.items()
    }

    def some_texts() -> list[list[int]]:
        tokenizer = load_checkpoint("demo", "bfloat16", "cpu").tokenizer
        prompts = chat_prompts(tokenizer, options.each)
        written = kept(WORK / "invariance", _file("off, batch 8"), parts["off, batch 8"])["texts"]
        step = max(len(prompts) // options.flip_texts, 1)
        return [p[-20:] + t for p, t in list(zip(prompts, written, strict=True))[::step]]

    for dtype in ("bfloat16", "float32"):
        parts[f"flips {dtype}"] = partial(flips, dtype, some_texts)
    parts["cost"] = partial(cost, options.rounds)
    parts["prefill"] = partial(prefill, options.rounds)
    done = {
        name: kept(WORK / "invariance", _file(name), part)
        for name, part in parts.items()
        if options.only in (None, name)
    }
    if options.only:
        return
    reference = done["off, batch 8"]["texts"]
    rows = []
    for name in RUNS:
        result = done[name]
        same = sum(a == b for a, b in zip(result["texts"], reference, strict=True))
        rows.append(
            {
                "run": name,
                "identical": same,
                "texts": len(reference),
                **{key: value for key, value in result.items() if key != "texts"},
            }
        )
        print(rows[-1])
    ratios = {
        name: median_ratio(s["on"], s["off"])
        for name, s in (("decoding", done["cost"]), ("prefill", done["prefill"]))
    }
    print(ratios)
    write_result(
        "invariance",
        {
            "tokens_per_text": NUM_TOKENS,
            "rows": rows,
            "cost_ratio": ratios,
            "seconds": {name: done[name] for name in ("cost", "prefill")},
            "flips": {dtype: done[f"flips {dtype}"] for dtype in ("bfloat16", "float32")},
        },
    )


def _file(name: str) -> str:
    return name.replace(", ", "-").replace(" ", "")


if __name__ == "__main__":
    main()
