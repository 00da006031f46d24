"""Our draft model and self-drafting beside transformers' assisted generation and early exit.

One stream, bfloat16, greedy, the same drafter (the demo model's first layers, as a checkpoint or in
place) and the same k on both sides, every prompt answered by all in turns. transformers' own
stopping rule and schedule are off, so that both draft k tokens a round.

    python -m benchmarks.suites.assisted
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from benchmarks.checkpoints import shallow_checkpoint
from benchmarks.constants import SHALLOW
from benchmarks.keeping import write_result
from benchmarks.prompts import chat_prompts
from fairdraft import LLM, SamplingParams
from fairdraft.models import load_checkpoint
from fairdraft.stats.side_by_side import median_ratio

K = 3
PAIRS = {
    "off": ("fairdraft off", "transformers off"),
    "draft model": ("fairdraft draft model", "transformers assisted"),
    "self-drafting": ("fairdraft self-drafting", "transformers early exit"),
}

Write = Callable[[list[int]], list[int]]


def ours(speculative: dict[str, Any] | None, num_tokens: int) -> tuple[LLM, Write]:
    llm = LLM(
        "demo",
        max_model_len=1024,
        enable_prefix_caching=False,  # transformers reads the prompt in every round too
        speculative_config=speculative,
    )
    params = SamplingParams(temperature=0, max_tokens=num_tokens, ignore_eos=True)

    def write(prompt: list[int]) -> list[int]:
        return llm.generate([{"prompt_token_ids": prompt}], params)[0].outputs[0].token_ids

    return llm, write


def theirs(model: Any, num_tokens: int, **assisted: Any) -> Write:
    def write(prompt: list[int]) -> list[int]:
        ids = torch.tensor([prompt])
        out = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=num_tokens,
            do_sample=False,
            **assisted,
        )
        return list(out[0, len(prompt) :].tolist())

    return write


def draft_k_tokens(model: Any) -> Any:
    config = model.generation_config
    config.eos_token_id = None  # as ignore_eos
    config.num_assistant_tokens = K
    config.num_assistant_tokens_schedule = "constant"
    config.assistant_confidence_threshold = 0.0
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=2, help="of each dataset")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        name = shallow_checkpoint(Path(folder), SHALLOW)
        checkpoint = load_checkpoint("demo", "bfloat16", "cpu")
        target = draft_k_tokens(checkpoint.model)
        drafter = AutoModelForCausalLM.from_pretrained(name, dtype=torch.bfloat16)
        drafting = {"method": "draft_model", "num_speculative_tokens": K}
        engines = {
            "fairdraft draft model": ours({**drafting, "model": name}, options.tokens),
            "fairdraft self-drafting": ours(
                {**drafting, "num_draft_layers": SHALLOW}, options.tokens
            ),
        }
    writers: dict[str, Write] = {
        "fairdraft off": ours(None, options.tokens)[1],
        **{name: write for name, (_, write) in engines.items()},
        "transformers off": theirs(target, options.tokens),
        "transformers assisted": theirs(
            target, options.tokens, assistant_model=draft_k_tokens(drafter)
        ),
        "transformers early exit": theirs(target, options.tokens, assistant_early_exit=SHALLOW),
    }
    prompts = chat_prompts(checkpoint.tokenizer, options.prompts)
    seconds: dict[str, list[list[float]]] = {name: [] for name in writers}
    same = dict.fromkeys(writers, 0)
    for write in writers.values():
        write(prompts[0][:20])
    for number in range(options.rounds):
        for times in seconds.values():
            times.append([])
        for prompt in prompts:
            texts = {}
            for name, write in writers.items():
                start = perf_counter()
                texts[name] = write(prompt)
                seconds[name][number].append(perf_counter() - start)
            for name, text in texts.items():
                same[name] += text == texts["fairdraft off"]
        print(f"round {number + 1} of {options.rounds}", flush=True)
    ratios = {}
    for label, (mine, peer) in PAIRS.items():
        theirs_flat, ours_flat = (
            [taken for number in seconds[side] for taken in number] for side in (peer, mine)
        )
        ratios[label] = median_ratio(theirs_flat, ours_flat)
        print(f"{label}: {ratios[label]:.2f}x")
    write_result(
        "assisted",
        {
            "layers": SHALLOW,
            "k": K,
            "tokens_per_text": options.tokens,
            "texts": len(prompts) * options.rounds,
            "rounds": options.rounds,
            "tokens_per_second": {
                name: options.tokens * len(prompts) / median(sum(r) for r in times)
                for name, times in seconds.items()
            },
            "identical_to_ours_off": same,
            "mean_acceptance_length": {
                name: llm.counters.mean_acceptance_length for name, (llm, _) in engines.items()
            },
            "ratios": ratios,
            "seconds": seconds,
        },
    )


if __name__ == "__main__":
    main()
