"""What several benchmark scripts share."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fairdraft import SamplingParams
from fairdraft.bench.datasets import load_prompts
from fairdraft.draft import Draft
from fairdraft.models import load_checkpoint
from fairdraft.models.early_exit import shallow_model
from fairdraft.proposers import Proposer
from fairdraft.request import Request
from fairdraft.sampling.sampler import DraftNoise
from fairdraft.telemetry import SpecCounters
from fairdraft.telemetry.environment import benchmark_environment
from fairdraft.verification import match

HERE = Path(__file__).parent
RESULTS = HERE / "results"
WORK = HERE / "work"
NOISE = DraftNoise()
DATASETS = ("humaneval", "gsm8k", "mt_bench")  # of the identity runs; more ship with fairdraft


def chat_prompts(tokenizer: Any, each: int) -> list[list[int]]:
    """Token ids of the first so many prompts of each dataset, as a user's message."""
    return [
        list(
            tokenizer.apply_chat_template(
                [{"role": "user", "content": text}], add_generation_prompt=True, return_dict=True
            )["input_ids"]
        )
        for name in DATASETS
        for text in load_prompts(name, each)
    ]


def kept(work: Path, name: str, compute: Callable[[], Any]) -> Any:
    """The result of a part: from the last run if it got that far, else computed and kept."""
    path = work / f"{name}.json"
    if not path.exists():
        work.mkdir(parents=True, exist_ok=True)
        print(f"{name} ...", flush=True)
        scratch = path.with_suffix(".partial")
        scratch.write_text(json.dumps(compute()))
        scratch.rename(path)
    return json.loads(path.read_text())


def write_result(name: str, report: dict[str, Any]) -> None:
    """Keep a report, with where and on what it was measured, in benchmarks/results."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    whole = {"environment": benchmark_environment(), **report}
    (RESULTS / f"{name}.json").write_text(json.dumps(whole, indent=1) + "\n")


def shallow_checkpoint(folder: Path, num_layers: int, dtype: str = "bfloat16") -> str:
    """The demo model's first layers, norm and head, written as a checkpoint: a draft model."""
    checkpoint = load_checkpoint("demo", dtype, "cpu")
    shallow_model(checkpoint.model, num_layers).save_pretrained(folder)
    checkpoint.tokenizer.save_pretrained(folder)
    return str(folder)


def replay(proposer: Proposer, name: str, prompt: list[int], text: list[int]) -> SpecCounters:
    """Draft and accept along a text that is known: exact, for greedy acceptance hangs on it alone.

    Args:
        proposer: one that needs no model.
        name: of the request.
        prompt, text: token ids.
    """
    request = Request(name, tuple(prompt), SamplingParams())
    proposer.start(request)
    request.token_ids.append(text[0])
    counters = SpecCounters()
    while request.num_output_tokens < len(text):
        left = text[request.num_output_tokens :]
        (draft,) = proposer.propose([request], [proposer.num_speculative_tokens], [()], NOISE)
        accepted = standing(draft, left[:-1])
        request.token_ids.extend(left[: accepted + 1])
        counters.record(len(draft), accepted, accepted + 1, max(draft.depths))
    proposer.finish(name)
    return counters


def standing(draft: Draft, text: list[int]) -> int:
    """How much of a draft stands where the target goes on with `text`."""

    def own(row: int) -> int:
        depth = draft.depths[row]
        return text[depth] if depth < len(text) else -1

    return match(draft, own).num_accepted
