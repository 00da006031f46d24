"""Is the output the same? A pairwise design on the real model, resumable.

Greedy, float32, 128 tokens, 20 prompts each of humaneval, gsm8k and mt_bench: n-gram speculation
over draft lengths, batch sizes, chunked prefill, prefix reuse and a KV pool so small that it
preempts, each against the engine without speculation and against transformers' own `generate`.
Then sampled (T = 0.8, top_p = 0.95, penalties in half of the requests, fixed seeds), on against
off. With --others every other method instead, chains and trees, greedy and sampled, in batches of
eight with chunks, prefix reuse and the small pool; those that draft with a model, which is slow,
write half as many tokens behind every second prompt.

A mismatch is audited: transformers' logits on the common beginning, teacher-forced; a gap between
the two likeliest tokens under 1e-3 is a near-tie, anything else is a bug.

Every finished part is kept in benchmarks/work; run again, it goes on where it stopped.

    python -m benchmarks.suites.identity
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from contextlib import chdir
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.checkpoints import shallow_checkpoint
from benchmarks.constants import LOOKUP, SHALLOW, TREES, WORK
from benchmarks.keeping import kept, write_result
from benchmarks.prompts import chat_prompts
from fairdraft import LLM, SamplingParams
from fairdraft.models import load_checkpoint

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

SELF = {"method": "draft_model", "num_draft_layers": SHALLOW}
SUFFIX_TREES = {
    "method": "suffix",
    "num_speculative_tokens": 8,
    "suffix_decoding_use_tree_spec": True,
}
HEADS: dict[str, dict[str, Any]] = {
    "eagle3": {"method": "eagle3", "num_speculative_tokens": 3},
    "eagle3-trees": {"method": "eagle3", **TREES},
    "medusa": {"method": "medusa", "num_speculative_tokens": 3},
    "medusa-trees": {"method": "medusa", **TREES},
    "dflash": {"method": "dflash", "num_speculative_tokens": 4},
    "dflash-trees": {"method": "dflash", **TREES},
    "distilled": {"method": "draft_model", "num_speculative_tokens": 3},
}
METHODS: dict[str, dict[str, Any]] = {
    "suffix": {"method": "suffix", "num_speculative_tokens": 8},
    "suffix-trees": SUFFIX_TREES,
    "self-drafting": {**SELF, "num_speculative_tokens": 3},
    "self-drafted-trees": {**SELF, **TREES},
    "draft-model": {"method": "draft_model", "model": "shallow", "num_speculative_tokens": 3},
    "draft-model-trees": {"method": "draft_model", "model": "shallow", **TREES},
    "hybrid": {
        "method": "hybrid",
        "num_speculative_tokens": 8,
        "methods": [SUFFIX_TREES, "ngram", {**SELF, "num_speculative_tokens": 2}],
    },
    **HEADS,
}

Texts = list[list[int]]


def ngram(k: int) -> dict[str, Any] | None:
    return {"method": "ngram", "num_speculative_tokens": k, **LOOKUP} if k else None


def engine(
    model: str,
    speculative: dict[str, Any] | None,
    batch: int,
    chunked: bool,
    prefix: bool,
    small: bool,
) -> LLM:
    return LLM(
        model,
        dtype="float32",
        max_model_len=1024,
        max_num_seqs=batch,
        max_num_batched_tokens=48 if chunked else 1024,
        enable_prefix_caching=prefix,
        num_gpu_blocks_override=72 if small else None,
        speculative_config=speculative,
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
        for i in range(60)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--others", action="store_true", help="all methods but n-gram")
    parser.add_argument("--work", type=Path, default=WORK / "identity")
    parser.add_argument("--only", help="compute only this part, for running parts side by side")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)

    tokenizer = load_checkpoint(options.model, "float32", "cpu").tokenizer
    prompts = chat_prompts(tokenizer, 20)
    greedy = [SamplingParams(temperature=0, max_tokens=NUM_TOKENS, ignore_eos=True)] * len(prompts)
    sampled = sampling_params()
    plain, hard = (8, False, True, False), (8, True, True, True)

    def part(
        speculative: dict[str, Any] | None,
        setting: tuple[int, bool, bool, bool],
        params: list[SamplingParams],
        share: int = 1,
    ) -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as folder, chdir(folder):
            if speculative and speculative.get("model"):
                shallow_checkpoint(Path("shallow"), SHALLOW, "float32")
            llm = engine(options.model, speculative, *setting)
            shorter = [replace(one, max_tokens=NUM_TOKENS // share) for one in params[::share]]
            return generate(llm, prompts[::share], shorter)

    parts: dict[str, Callable[[], Any]] = {
        "off": partial(part, None, plain, greedy),
        "transformers": lambda: {"texts": transformers_texts(options.model, prompts)},
        "sampled-off": partial(part, None, plain, sampled),
    }
    if options.others:
        for method, speculative in METHODS.items():
            costly = speculative["method"] == "draft_model" or method in HEADS
            share = 2 if costly else 1
            parts[f"{method}-greedy"] = partial(part, speculative, hard, greedy, share)
            parts[f"{method}-sampled"] = partial(part, speculative, hard, sampled, share)
    else:
        parts["sampled-on"] = partial(part, ngram(4), hard, sampled)
        for k, batch, chunked, prefix, small in DESIGN:
            name = f"k{k}-batch{batch}-chunked{chunked:d}-prefix{prefix:d}-small{small:d}"
            parts[name] = partial(part, ngram(k), (batch, chunked, prefix, small), greedy)
    if options.only:
        kept(options.work, options.only, parts[options.only])
        return
    results = {name: kept(options.work, name, compute) for name, compute in parts.items()}

    reference = load_checkpoint(options.model, "float32", "cpu").model
    rows = []
    for name, result in results.items():
        if name == "transformers" or name == "sampled-off":
            continue
        sampled_run = name == "sampled-on" or name.endswith("-sampled")
        against = ["sampled-off"] if sampled_run else ["transformers"]
        against += ["off"] if not sampled_run and name != "off" else []
        every = len(prompts) // len(result["texts"])
        compared = prompts[::every]
        for other in against:
            reference_texts = [t[: len(result["texts"][0])] for t in results[other]["texts"]]
            mismatches = [
                {"prompt": i * every, **audit(reference, compared[i], ours, theirs)}
                for i, (ours, theirs) in enumerate(
                    zip(result["texts"], reference_texts[::every], strict=True)
                )
                if ours != theirs
            ]
            counts = {k: v for k, v in result.items() if k != "texts"}
            counts["tokens"] = sum(map(len, result["texts"]))
            rows.append(
                {"run": name, "against": other, "texts": len(compared), **counts}
                | {"mismatches": mismatches}
            )
            near = sum(m["near_tie"] for m in mismatches)
            print(
                f"{name:40} = {other:12} {len(compared) - len(mismatches)}/{len(compared)} "
                f"({near} near-ties, {len(mismatches) - near} unexplained)"
            )
    report = {"tokens_per_text": NUM_TOKENS, "dtype": "float32", "rows": rows}
    write_result("identity_others" if options.others else "identity", report)


if __name__ == "__main__":
    main()
