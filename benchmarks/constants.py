"""What the benchmarks have in common: places, prompts and seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent
DOCS = ROOT / "docs"
RESULTS = HERE / "results"  # summaries that a diff can show
RAW = RESULTS / "raw"  # every sample, compressed
WORK = HERE / "work"  # parts of runs under way, and what peers need; not kept in git

DATASETS = ("humaneval", "gsm8k", "mt_bench")  # more ship with fairdraft
PROMPTS = 20  # of each dataset, where texts are compared
SEED = 0

# Lookup as every engine that has it is asked to do it.
LOOKUP = {"prompt_lookup_max": 4, "prompt_lookup_min": 2}
NGRAM: dict[str, Any] = {"method": "ngram", "num_speculative_tokens": 4, **LOOKUP}
SHALLOW = 26  # layers of the demo model's 30 that draft where the target drafts for itself
TREES = {"num_speculative_tokens": 6, "draft_tree_top_k": 2, "draft_tree_depth": 3}
