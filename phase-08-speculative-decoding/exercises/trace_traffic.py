"""Traces the traffic of exercise 11 with the demo model, and writes traffic.json.

python phase-08-speculative-decoding/exercises/trace_traffic.py

It runs the model for some minutes. Answers are greedy and all of one length. Of each step it keeps
how many tokens were drafted and how many of them were accepted.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from shared import HERE

from fairdraft import LLM, SamplingParams
from fairdraft.bench.datasets import load_prompts
from fairdraft.bench.layout import row_per_line
from fairdraft.telemetry.environment import benchmark_environment

TEXTS = {"code": ("humaneval", 28), "chat": ("mt_bench", 12)}
TOKENS, LONGEST = 48, 8
METHODS: dict[str, dict[str, Any]] = {
    "ngram": {"prompt_lookup_max": 4, "prompt_lookup_min": 2},
    "eagle3": {},
}


def rounds(trace: Path) -> list[dict[str, Any]]:
    """Return of each request, in the order they came, its prompt's length and its rounds."""
    found: dict[str, dict[str, Any]] = {}
    for line in trace.read_text("utf-8").splitlines():
        for entry in json.loads(line)["requests"]:
            if "num_accepted" in entry:
                first = entry["num_computed_tokens"] + entry["num_new_tokens"]
                text = found.setdefault(entry["request_id"], {"context": first, "rounds": []})
                text["rounds"].append([len(entry["draft_token_ids"]), entry["num_accepted"]])
    return list(found.values())


def main() -> None:
    """Trace both methods over both kinds of text, and write the file."""
    kinds = [kind for kind, (_, count) in TEXTS.items() for _ in range(count)]
    prompts = [text for name, count in TEXTS.values() for text in load_prompts(name, count)]
    params = SamplingParams(temperature=0, max_tokens=TOKENS, ignore_eos=True)
    texts: list[dict[str, Any]] = [{"kind": kind} for kind in kinds]
    with tempfile.TemporaryDirectory() as folder:
        for method, options in METHODS.items():
            trace = Path(folder) / f"{method}.jsonl"
            config = {"method": method, "num_speculative_tokens": LONGEST, **options}
            llm = LLM("demo", speculative_config=config, max_model_len=1024, trace=trace)
            llm.chat([[{"role": "user", "content": text}] for text in prompts], params)
            llm.close()
            for text, traced in zip(texts, rounds(trace), strict=True):
                text |= {"context": traced["context"], method: traced["rounds"]}
    report = {"environment": benchmark_environment(), "k": LONGEST, "texts": texts}
    (HERE / "traffic.json").write_text(row_per_line(report) + "\n", "utf-8")


if __name__ == "__main__":
    main()
