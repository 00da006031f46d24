"""The engine on a device: whether the texts are those of plain decoding, and where a step's time
goes. On tiny random checkpoints, made on the spot.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.suites.gpu_clock import Deadline, wait_for
from fairdraft import LLM, SamplingParams
from fairdraft.heads.dflash.loss import DFlashTraining
from fairdraft.heads.draft_model.loss import DraftModelTraining
from fairdraft.heads.eagle3.loss import Eagle3Training
from fairdraft.heads.medusa.loss import MedusaTraining
from fairdraft.models import load_checkpoint
from tests.conftest import prefer_few_tokens, write_tiny

LAYERS = 8  # the fewest of which every head can read
K = 4
TREE = {"num_speculative_tokens": 6, "draft_tree_top_k": 2, "draft_tree_depth": 3}
PROMPTS = tuple([(7 * i + j * j) % 6 for j in range(12 + 5 * i)] for i in range(8))
SAMPLINGS: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0.0},
    "T=1": {"temperature": 1.0, "top_p": 0.95, "seed": 5},
    "T=1, penalties": {"temperature": 1.0, "top_k": 40, "repetition_penalty": 1.1, "seed": 6},
}


def checkpoints(folder: Path) -> dict[str, str]:
    """Write a tiny target, and every drafter that is made without training; by name."""
    target = str(write_tiny(folder / "target", "llama", num_hidden_layers=LAYERS))
    loaded = load_checkpoint(target, "float32", "cpu")
    prefer_few_tokens(loaded.model).save_pretrained(target)
    vocabulary = torch.arange(loaded.model.config.vocab_size)
    heads = {
        "eagle3": Eagle3Training(loaded.model, target, passes=1),
        "medusa": MedusaTraining(loaded.model, target, num_heads=K),
        "dflash": DFlashTraining(
            loaded.model, target, mask_token_id=1, block_size=K + 1, num_layers=1, num_states=2
        ),
        "pruned": DraftModelTraining(loaded.model, target, num_layers=2),
    }
    for name, head in heads.items():
        torch.manual_seed(0)
        head.initialise(vocabulary)
        head.save(folder / name)
    return {"target": target, **{name: str(folder / name) for name in heads}}


def methods(at: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Return the `speculative_config` of every method; its drafts are chosen, not drawn."""
    return {
        "ngram": {"method": "ngram"},
        "suffix trees": {"method": "suffix", "num_speculative_tokens": 6},
        "hybrid": {"method": "hybrid"},
        "auto": {"method": "auto"},
        "first layers": {"method": "draft_model", "num_draft_layers": LAYERS - 1},
        "the model itself": {"method": "draft_model", "model": at["target"]},
        "its first layers as a file": {"method": "draft_model", "model": at["pruned"]},
        "the model itself, trees": {"method": "draft_model", "model": at["target"], **TREE},
        "eagle3": {"method": "eagle3", "model": at["eagle3"]},
        "eagle3, trees": {"method": "eagle3", "model": at["eagle3"], **TREE},
        "medusa": {"method": "medusa", "model": at["medusa"]},
        "medusa, trees": {"method": "medusa", "model": at["medusa"], **TREE},
        "dflash": {"method": "dflash", "model": at["dflash"]},
    }


def load(
    target: str, device: torch.device, speculation: dict[str, Any] | None, **options: Any
) -> LLM:
    """Load the target in float32."""
    if speculation is not None:
        speculation = {"num_speculative_tokens": K, **speculation}
    return LLM(
        target, dtype="float32", device=str(device), speculative_config=speculation, **options
    )


def texts(llm: LLM, prompts: Sequence[list[int]], tokens: int) -> dict[str, list[list[int]]]:
    """Generate under every way to sample."""
    found = {}
    for name, sampling in SAMPLINGS.items():
        params = SamplingParams(max_tokens=tokens, ignore_eos=True, logprobs=1, **sampling)
        outputs = llm.generate([{"prompt_token_ids": p} for p in prompts], params)
        found[name] = [output.outputs[0].token_ids for output in outputs]
    return found


def identity(device: torch.device, tiny: bool, deadline: Deadline) -> dict[str, Any]:
    """Count the texts that differ from plain decoding's, by method and by how tokens are drawn."""
    tokens, prompts = (12, PROMPTS[:3]) if tiny else (48, PROMPTS)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        at = checkpoints(Path(folder))
        with load(at["target"], device, None) as llm:
            off = texts(llm, prompts, tokens)
        for name, speculation in methods(at).items():
            if deadline.passed:
                rows.append({"method": name, "not_run": "the time was up"})
                continue
            try:
                rows.append({"method": name, **_differing(at, device, speculation, off, tokens)})
            except Exception as error:  # one method's failure must not hide the others'
                rows.append({"method": name, "failed": f"{type(error).__name__}: {error}"[:600]})
    return {"texts": len(prompts), "tokens": tokens, "methods": rows}


def _differing(
    at: dict[str, str],
    device: torch.device,
    speculation: dict[str, Any],
    off: dict[str, list[list[int]]],
    tokens: int,
) -> dict[str, Any]:
    with load(at["target"], device, speculation) as llm:
        on = texts(llm, PROMPTS[: len(off["greedy"])], tokens)
        counters = llm.counters
    different = {
        name: sum(a != b for a, b in zip(off[name], on[name], strict=True)) for name in off
    }
    return {
        "differing": different,
        "drafted": counters.num_draft_tokens,
        "accepted": counters.num_accepted_tokens,
    }


def step_parts(device: torch.device, tiny: bool, deadline: Deadline) -> dict[str, Any]:
    """Measure the verbs of a step at 1 and 8 requests, in milliseconds a step.

    As it is, a device's run is only given to it in "run", and waited for in "verify"; `waited` runs
    wait for the device behind the model, so that each verb holds its own work.
    """
    tokens = 8 if tiny else 64
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        target = checkpoints(Path(folder))["target"]
        for speculation in (None, {"method": "ngram"}, {"method": "draft_model", "model": target}):
            for waited in (False, True):
                if deadline.passed:
                    break
                with load(target, device, speculation, enable_prefix_caching=False) as llm:
                    if waited:
                        _wait_behind_runs(llm, device)
                    for requests in (1, 8):
                        rows.append(
                            {
                                "method": speculation["method"] if speculation else "off",
                                "requests": requests,
                                "waited": waited,
                                **_verbs(llm, requests, tokens),
                            }
                        )
    return {"steps": rows}


def _wait_behind_runs(llm: LLM, device: torch.device) -> None:
    run = llm.runner.run

    def run_and_wait(*args: Any) -> Any:
        output = run(*args)
        wait_for(device)
        return output

    setattr(llm.runner, "run", run_and_wait)  # noqa: B010  (a method, as mypy sees it)


def _verbs(llm: LLM, requests: int, tokens: int) -> dict[str, Any]:
    params = SamplingParams(max_tokens=tokens, ignore_eos=True, temperature=1, top_p=0.95, seed=1)
    prompts = [{"prompt_token_ids": [*p, i]} for i, p in enumerate(PROMPTS[:requests])]
    llm.generate(prompts, params)  # once unmeasured
    before = vars(llm.times).copy()
    llm.generate(prompts, params)
    spent = {name: value - before[name] for name, value in vars(llm.times).items()}
    steps = spent.pop("num_steps")
    return {name: round(value / steps * 1e3, 4) for name, value in spent.items()} | {"steps": steps}
