"""Every drafter without training on every kind of text: acceptance, cost, tokens per second.

Greedy, bfloat16. For each dataset one stream, then eight: all methods answer the same prompts in
turns, a prompt (or eight) at a time, each in an engine of its own. The prompts at eight streams are
others than at one, so that the suffix index holds other answers of the dataset, never the same one.

    python -m benchmarks.suites.drafters
"""

from __future__ import annotations

import argparse
import tempfile
from contextlib import chdir
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.checkpoints import shallow_checkpoint
from benchmarks.constants import NGRAM, SHALLOW, TREES
from benchmarks.keeping import split_rows, write_result
from benchmarks.prompts import EDITS, agent_replay
from fairdraft import LLM, SamplingParams
from fairdraft.bench.datasets import DATASETS, load_prompts
from fairdraft.stats.side_by_side import median_ratio
from fairdraft.telemetry import SpecCounters

AGENT = "agent_replay"
STREAMS = (1, 8)
SELF = {"method": "draft_model", "num_draft_layers": SHALLOW}

METHODS: dict[str, dict[str, Any] | None] = {
    "off": None,
    "ngram, k = 4": NGRAM,
    "ngram, k = 12": {**NGRAM, "num_speculative_tokens": 12},
    "suffix, k = 12": {"method": "suffix", "num_speculative_tokens": 12},
    "suffix trees, 12 nodes": {
        "method": "suffix",
        "num_speculative_tokens": 12,
        "suffix_decoding_use_tree_spec": True,
    },
    "hybrid, k = 12": {"method": "hybrid", "num_speculative_tokens": 12},
    f"first {SHALLOW} layers, k = 3": {**SELF, "num_speculative_tokens": 3},
    f"first {SHALLOW} layers, trees of 6": {
        **SELF,
        **TREES,
    },
    f"draft model of {SHALLOW} layers, k = 3": {  # as a checkpoint of its own, with KV of its own
        "method": "draft_model",
        "model": "shallow",
        "num_speculative_tokens": 3,
    },
}


def in_turns(
    engines: dict[str, LLM], prompts: list[list[int]], streams: int, num_tokens: int
) -> list[dict[str, Any]]:
    """Answer the prompts with all engines in turns; a row of results for each engine."""
    params = SamplingParams(temperature=0, max_tokens=num_tokens, ignore_eos=True)
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    counters = {name: SpecCounters() for name in engines}
    propose = {name: -llm.times.propose for name, llm in engines.items()}
    texts: dict[str, list[list[int]]] = {name: [] for name in engines}
    for start in range(0, len(prompts), streams):
        batch = [{"prompt_token_ids": ids} for ids in prompts[start : start + streams]]
        for name, llm in engines.items():
            began = perf_counter()
            outputs = llm.generate(batch, params)
            seconds[name].append(perf_counter() - began)
            for output in outputs:
                counters[name].merge(output.spec)
                texts[name].append(output.outputs[0].token_ids)
    rows = []
    for name, llm in engines.items():
        count = counters[name]
        rows.append(
            {
                "method": name,
                "streams": streams,
                "tokens_per_second": num_tokens * len(prompts) / sum(seconds[name]),
                "speedup": median_ratio(seconds["off"], seconds[name]),
                "acceptance_per_pos": count.acceptance_intervals_per_pos,
                "mean_acceptance_length": count.mean_acceptance_length,
                "tokens_per_step": count.tokens_per_step,
                "draft_us_per_token": 1e6
                * (propose[name] + llm.times.propose)
                / max(count.num_draft_tokens, 1),
                "identical_texts": sum(
                    a == b for a, b in zip(texts[name], texts["off"], strict=True)
                ),
                "texts": len(prompts),
                "counters": asdict(count),
                "seconds": seconds[name],
            }
        )
    return rows


def prompts_of(dataset: str, llm: LLM, num_prompts: int, num_tokens: int) -> list[list[int]]:
    """Return twice `num_prompts` prompts: a half for each number of streams."""
    if dataset == AGENT:
        return agent_replay(llm, 20, 2 * num_prompts // (1 + len(EDITS)), num_tokens)
    texts = load_prompts(dataset)[: 2 * num_prompts]
    return [llm.encode_chat([{"role": "user", "content": text}]) for text in texts]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=96)
    parser.add_argument("--datasets", nargs="+", default=[*DATASETS, AGENT])
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        shallow_checkpoint(Path("shallow"), SHALLOW)
        for dataset in options.datasets:
            engines = {
                name: LLM("demo", max_model_len=2048, speculative_config=speculative)
                for name, speculative in METHODS.items()
            }
            prompts = prompts_of(dataset, engines["off"], options.prompts, options.tokens)
            for llm in engines.values():
                llm.generate(["one two one two one two"], SamplingParams(max_tokens=8))
            for i, streams in enumerate(STREAMS):
                half = prompts[i * options.prompts : (i + 1) * options.prompts]
                for row in in_turns(engines, half, streams, options.tokens):
                    rows.append({"dataset": dataset, **row})
                    print(
                        f"{dataset:13} {row['method']:32} {streams} streams "
                        f"{row['tokens_per_second']:6.1f} tok/s {row['speedup']:.2f}x, "
                        f"length {row['mean_acceptance_length']:.2f}",
                        flush=True,
                    )
            settings = {"prompts": options.prompts, "tokens_per_text": options.tokens}
            brief, samples = split_rows(rows, "counters", "seconds")
            summary = {**settings, "methods": METHODS, "rows": brief}
            write_result("drafters", summary, {"rows": samples})


if __name__ == "__main__":
    main()
