"""The trained drafters that come with fairdraft, at one stream: acceptance, cost, and their worth.

Greedy, bfloat16, on prompts that none of them learnt from. All methods answer each prompt in turns,
each in an engine of its own. The equation's prediction stands beside what was measured.

    python -m benchmarks.suites.heads
"""

from __future__ import annotations

import argparse
from typing import Any

from benchmarks.constants import DATASETS
from benchmarks.keeping import split_rows, write_result
from fairdraft import LLM, SamplingParams
from fairdraft.bench.datasets import load_prompts
from fairdraft.bench.measurement import Measurement, measure, record
from fairdraft.economics.planning.forecast import Forecast
from fairdraft.heads import head_cost
from fairdraft.stats.side_by_side import median_ratio

TREE = {"draft_tree_top_k": 4, "num_speculative_tokens": 8, "draft_tree_depth": 3}
METHODS: dict[str, dict[str, Any] | None] = {
    "off": None,
    "eagle3, k = 2": {"method": "eagle3", "num_speculative_tokens": 2},
    "eagle3, k = 3": {"method": "eagle3", "num_speculative_tokens": 3},
    "eagle3, trees of 8": {"method": "eagle3", **TREE},
    "medusa, k = 2": {"method": "medusa", "num_speculative_tokens": 2},
    "medusa, trees of 8": {"method": "medusa", **TREE, "draft_tree_depth": 2},
    "dflash, k = 3": {"method": "dflash", "num_speculative_tokens": 3},
    "draft_model, k = 2": {"method": "draft_model", "num_speculative_tokens": 2},
    "suffix + eagle3": {
        "method": "hybrid",
        "num_speculative_tokens": 12,
        "methods": ["suffix", {"method": "eagle3", "num_speculative_tokens": 3}],
    },
}


def footprint(llm: LLM) -> dict[str, float]:
    """Return what a drafter takes beside its target, and c by bytes; nothing for a hybrid."""
    drafter: Any = getattr(llm.engine.proposer, "drafter", None)
    if drafter is None:
        return {}
    cost = head_cost(drafter.network, llm.runner.model)
    itemsize = llm.runner.model.dtype.itemsize
    return {
        "weights_mib": cost.parameters * itemsize / 2**20,
        "kv_bytes_per_token": sum(layer.numel for layer in drafter.kv_layers) * itemsize,
        "c_by_bytes": cost.by_bytes,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=96)
    options = parser.parse_args()
    params = SamplingParams(temperature=0, max_tokens=options.tokens, ignore_eos=True)
    engines = {
        name: LLM("demo", max_model_len=2048, speculative_config=speculative)
        for name, speculative in METHODS.items()
    }
    rows = []
    for dataset in DATASETS:
        runs: dict[str, list[Measurement]] = {name: [] for name in METHODS}
        for llm in engines.values():
            llm.generate(["one two one two one two"], SamplingParams(max_tokens=8))
        for text in load_prompts(dataset, options.prompts):
            prompt = engines["off"].encode_chat([{"role": "user", "content": text}])
            for name, llm in engines.items():
                runs[name].append(measure(llm, [prompt], params))
        off = Measurement()
        for run in runs["off"]:
            off.add(run)
        for name, llm in engines.items():
            whole = Measurement()
            for run in runs[name]:
                whole.add(run)
            seconds, plain = ([run.seconds for run in runs[each]] for each in (name, "off"))
            row: dict[str, Any] = {
                "dataset": dataset,
                "method": name,
                "tokens_per_second": whole.tokens_per_second,
                "speedup": median_ratio(plain, seconds),
                "seconds": seconds,
                **footprint(llm),
            }
            if name != "off":
                forecast = Forecast.of(off.times, whole.times, whole.counters)
                row |= {
                    "c": forecast.draft_cost,
                    "verify_growth": forecast.verify_growth,
                    "predicted_speedup": forecast.speedup,
                    "acceptance_per_pos": whole.counters.acceptance_intervals_per_pos,
                    "mean_acceptance_length": whole.counters.mean_acceptance_length,
                    "counters": record(whole.counters),
                }
            rows.append(row)
            print(
                f"{dataset:10} {name:20} {row['tokens_per_second']:6.1f} tok/s "
                f"{row['speedup']:.2f}x, predicted {row.get('predicted_speedup', 1):.2f}x, "
                f"length {whole.counters.mean_acceptance_length:.2f}, c {row.get('c', 0):.3f}",
                flush=True,
            )
    settings = {"prompts": options.prompts, "tokens_per_text": options.tokens}
    brief, samples = split_rows(rows, "counters", "seconds")
    write_result("heads", {**settings, "methods": METHODS, "rows": brief}, {"rows": samples})


if __name__ == "__main__":
    main()
