"""Is the output the same? A pairwise design on the real model, resumable.

Greedy, float32, 128 tokens, 20 prompts each of humaneval, gsm8k and mt_bench: n-gram speculation
over draft lengths, batch sizes, chunked prefill, prefix reuse and a KV pool so small that it
preempts, each against the engine without speculation and against transformers' own `generate`.
Then sampled (T = 0.8, top_p = 0.95, penalties in half of the requests, fixed seeds), on against
off.

A mismatch is audited: transformers' logits on the common beginning, teacher-forced; a gap between
the two likeliest tokens under 1e-3 is a near-tie, anything else is a bug.

Every finished part is kept in benchmarks/work; run again, it goes on where it stopped.

    python -m benchmarks.identity
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.common import RESULTS, WORK, chat_prompts, kept
from fairdraft import LLM, SamplingParams
from fairdraft.cli.environment import benchmark_environment
from fairdraft.models import load_checkpoint

DATASETS = ("humaneval", "gsm8k", "mt_bench")
NUM_TOKENS = 128
NEAR_TIE = 1e-3

# k, batch, chunked prefill, prefix reuse, small pool: each pair of levels of two factors occurs.
DESIGN = [
    (1, 1, False, False, False),
    (1, 8, True, True, True),
    (2, 1, True, True, False),
    (2, 8, False, False, True),
    (4, 1, True, False, True),
    (4, 8, False, True, False),
    (8, 1, False, True, True),
    (8, 8, True, False, False),
]

Texts = list[list[int]]


def engine(model: str, k: int, batch: int, chunked: bool, prefix: bool, small: bool) -> LLM:
    speculative = {"method": "ngram", "num_speculative_tokens": k, "prompt_lookup_max": 4}
    speculative["prompt_lookup_min"] = 2
    return LLM(
        model,
        dtype="float32",
        max_model_len=1024,
        max_num_seqs=batch,
        max_num_batched_tokens=48 if chunked else 1024,
        enable_prefix_caching=prefix,
        num_gpu_blocks_override=72 if small else None,
        speculative_config=speculative if k else None,
    )


def generate(llm: LLM, prompts: Texts, params: list[SamplingParams]) -> dict[str, Any]:
    outputs = llm.generate([{"prompt_token_ids": p} for p in prompts], params, use_tqdm=True)
    return {
        "texts": [output.outputs[0].token_ids for output in outputs],
        "drafted": llm.counters.num_draft_tokens,
        "accepted": llm.counters.num_accepted_tokens,
        "preemptions": llm.engine.scheduler.num_preemptions,
        "cached_tokens": sum(output.num_cached_tokens for output in outputs),
    }


def transformers_texts(model: str, prompts: Texts) -> Texts:
    """Ten at a time, padded on the left, each row masked to its own prompt."""
    checkpoint = load_checkpoint(model, "float32", "cpu")
    texts: Texts = []
    for start in range(0, len(prompts), 10):
        group = prompts[start : start + 10]
        width = max(len(prompt) for prompt in group)
        ids = torch.tensor([[0] * (width - len(prompt)) + prompt for prompt in group])
        mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in group])
        out = checkpoint.model.generate(
            ids,
            attention_mask=mask,
            max_new_tokens=NUM_TOKENS,
            min_new_tokens=NUM_TOKENS,
            do_sample=False,
            eos_token_id=None,
        )
        texts.extend(out[:, width:].tolist())
    return texts


def audit(reference: Any, prompt: list[int], ours: list[int], theirs: list[int]) -> dict[str, Any]:
    """Where two texts part, and how near the two likeliest tokens are there."""
    pairs = zip(ours, theirs, strict=True)
    place = next(i for i, (a, b) in enumerate(pairs) if a != b)
    with torch.inference_mode():
        logits = reference(torch.tensor([prompt + theirs[:place]])).logits[0, -1]
    best = logits.topk(2).values
    gap = float(best[0] - best[1])
    return {"position": place, "top2_gap": gap, "near_tie": gap < NEAR_TIE}


def sampling_params() -> list[SamplingParams]:
    penalties = {"repetition_penalty": 1.1, "presence_penalty": 0.2, "frequency_penalty": 0.2}
    return [
        SamplingParams(
            temperature=0.8,
            top_p=0.95,
            seed=i,
            max_tokens=NUM_TOKENS,
            ignore_eos=True,
            **(penalties if i % 2 else {}),  # type: ignore[arg-type]
        )
        for i in range(20 * len(DATASETS))
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--out", type=Path, default=RESULTS / "identity.json")
    parser.add_argument("--work", type=Path, default=WORK / "identity")
    parser.add_argument("--only", help="compute only this part, for running parts side by side")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)

    tokenizer = load_checkpoint(options.model, "float32", "cpu").tokenizer
    prompts = chat_prompts(tokenizer, 20)
    greedy = [SamplingParams(temperature=0, max_tokens=NUM_TOKENS, ignore_eos=True)] * len(prompts)
    sampled = sampling_params()
    off = (0, 8, False, True, False)

    def greedy_part(setting: tuple[int, int, bool, bool, bool]) -> dict[str, Any]:
        return generate(engine(options.model, *setting), prompts, greedy)

    parts: dict[str, Callable[[], Any]] = {
        "off": partial(greedy_part, off),
        "transformers": lambda: {"texts": transformers_texts(options.model, prompts)},
        "sampled-off": lambda: generate(engine(options.model, *off), prompts, sampled),
        "sampled-on": lambda: generate(
            engine(options.model, 4, 8, True, True, True), prompts, sampled
        ),
    }
    for setting in DESIGN:
        name = "k{}-batch{}-chunked{:d}-prefix{:d}-small{:d}".format(*setting)
        parts[name] = partial(greedy_part, setting)
    if options.only:
        kept(options.work, options.only, parts[options.only])
        return
    results = {name: kept(options.work, name, compute) for name, compute in parts.items()}

    reference = load_checkpoint(options.model, "float32", "cpu").model
    rows = []
    for name, result in results.items():
        if name == "transformers" or name == "sampled-off":
            continue
        against = ["sampled-off"] if name == "sampled-on" else ["transformers"]
        against += ["off"] if name.startswith("k") else []
        for other in against:
            mismatches = [
                {"prompt": i, **audit(reference, prompts[i], ours, theirs)}
                for i, (ours, theirs) in enumerate(
                    zip(result["texts"], results[other]["texts"], strict=True)
                )
                if ours != theirs
            ]
            counts = {k: v for k, v in result.items() if k != "texts"}
            rows.append(
                {"run": name, "against": other, "texts": len(prompts), **counts}
                | {"mismatches": mismatches}
            )
            near = sum(m["near_tie"] for m in mismatches)
            print(
                f"{name:40} = {other:12} {len(prompts) - len(mismatches)}/{len(prompts)} "
                f"({near} near-ties, {len(mismatches) - near} unexplained)"
            )
    report = {
        "environment": benchmark_environment(),
        "tokens_per_text": NUM_TOKENS,
        "dtype": "float32",
        "rows": rows,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
