"""Whether every method says in float32 what the engine says without speculation, on the device."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.constants import LOOKUP, TREES
from benchmarks.gpu.models import tiny_heads, tiny_model
from benchmarks.gpu.sections import Report, Setting
from benchmarks.prompts import chat_prompts
from fairdraft.config import EngineConfig, SamplingParams, SpeculativeConfig
from fairdraft.engine.engine import Engine
from fairdraft.errors import CheckpointError
from fairdraft.models import ModelRunner, load_checkpoint
from fairdraft.models.invariance import run_in_pieces
from fairdraft.proposers import build_proposer
from fairdraft.sampling.filters import probabilities
from fairdraft.sampling.noise import Purpose, uniform

NEAR_TIE = 1e-3  # of logits, or of a uniform draw from the edge of a token's share
NUM_TOKENS = 32
BATCH = 8
BLOCKS = 44  # of 16 tokens: eight requests do not fit, and some are preempted
Params = Sequence[SamplingParams]
Texts = list[list[int]]


@dataclass
class _Target:
    """What is compared: a model, prompts, and the methods that draft for it."""

    runner: ModelRunner
    prompts: Texts
    methods: dict[str, dict[str, Any]]


def identity(setting: Setting, found: Report) -> None:
    """Run every method, greedy and sampled with seeds, against none; audit what differs."""
    with tempfile.TemporaryDirectory() as folder:
        target = _target(setting, Path(folder), found)
        count = len(target.prompts)
        greedy = [SamplingParams(temperature=0, max_tokens=NUM_TOKENS, ignore_eos=True)] * count
        sampled = [
            SamplingParams(
                temperature=1.0,
                top_p=0.95 if i % 2 else 1.0,
                seed=i,
                max_tokens=NUM_TOKENS,
                ignore_eos=True,
            )
            for i in range(count)
        ]
        found["rows"], found["left_out"] = [], []
        wanted = {}
        for name, params in (("greedy", greedy), ("sampled", sampled)):
            wanted[name], row = _texts(target, None, params, hard=False)
            found["rows"].append({"method": "off", "params": name, **row})
        for method, speculative in {"off": None, **target.methods}.items():
            for name, params in (("greedy", greedy), ("sampled", sampled)):
                if setting.left < 0:
                    found["left_out"].append(f"{method}, {name}")
                    continue
                found["rows"].append(
                    {"method": method, "params": name}
                    | _compared(target, speculative, params, wanted[name])
                )


def _compared(
    target: _Target, speculative: dict[str, Any] | None, params: Params, wanted: Texts
) -> Report:
    """Return how many texts are the same, and why others are not; an error as it was raised."""
    try:
        texts, row = _texts(target, speculative, params, hard=True)
    except Exception as error:  # another method may work
        return {"error": f"{type(error).__name__}: {error}"[:300]}
    audits = [
        {"text": i, **_audit(target.runner, target.prompts[i], mine, theirs, params[i])}
        for i, (mine, theirs) in enumerate(zip(texts, wanted, strict=True))
        if mine != theirs
    ]
    unexplained = sum(not audit["near_tie"] for audit in audits)
    return {"differ": len(audits), "unexplained": unexplained, "audits": audits[:4], **row}


def _target(setting: Setting, folder: Path, found: Report) -> _Target:
    """Return the demo model where it is at hand, else a tiny one."""
    lookups: dict[str, dict[str, Any]] = {
        "ngram": {"method": "ngram", "num_speculative_tokens": 4, **LOOKUP},
        "suffix": {"method": "suffix", "num_speculative_tokens": 8},
        "suffix-trees": {
            "method": "suffix",
            "num_speculative_tokens": 8,
            "suffix_decoding_use_tree_spec": True,
        },
    }
    try:
        if setting.tiny:
            raise CheckpointError("tiny")
        checkpoint = load_checkpoint("demo", "float32", str(setting.device))
    except CheckpointError as error:
        found["model"] = f"a tiny random one ({error})"
        model = tiny_model("llama", setting.device)
        runner = ModelRunner(model, name="tiny")
        prompts = [[(5 * i + 3 * j * j) % 300 + 2 for j in range(40 + 9 * i)] for i in range(12)]
        layers = 6
        heads: dict[str, str | None] = {**tiny_heads(model, folder)}
    else:
        found["model"] = "demo"
        runner = ModelRunner(checkpoint.model, False, checkpoint.tokenizer, "demo")
        prompts = chat_prompts(checkpoint.tokenizer, 4)
        layers = 26
        heads = dict.fromkeys(("eagle3", "medusa", "dflash", "draft_model"))
    drafters: dict[str, dict[str, Any]] = {
        kind: {"method": kind} | ({"model": name} if name else {}) for kind, name in heads.items()
    }
    drafters["self"] = {"method": "draft_model", "num_draft_layers": layers}
    methods = lookups
    for kind, config in drafters.items():
        methods[kind] = {**config, "num_speculative_tokens": 3}
        methods[f"{kind}-trees"] = {**config, **TREES}
    parts = ["ngram", methods["suffix-trees"], methods["eagle3"]]
    methods["hybrid"] = {"method": "hybrid", "num_speculative_tokens": 8, "methods": parts}
    alone = ["suffix", {**methods["eagle3"]}]
    methods["auto"] = {"method": "auto", "num_speculative_tokens": 4, "methods": alone}
    return _Target(runner, prompts, methods)


def _texts(
    target: _Target, speculative: dict[str, Any] | None, params: Params, hard: bool
) -> tuple[Texts, Report]:
    """Return what all prompts are answered, and counts; `hard` is chunks and a small pool."""
    config = EngineConfig(
        "gpu",
        max_model_len=512,
        max_num_seqs=BATCH,
        max_num_batched_tokens=48 if hard else 1024,
        num_gpu_blocks_override=BLOCKS if hard else None,
        speculative_config=SpeculativeConfig.of(speculative),
    )
    chosen = config.speculative_config
    proposer = build_proposer(chosen) if chosen is not None else None
    engine = Engine(config, target.runner, proposer=proposer)
    start = perf_counter()
    requests = [
        engine.add_request(prompt, one) for prompt, one in zip(target.prompts, params, strict=True)
    ]
    while engine.has_unfinished_requests:
        engine.step()
    graphs = target.runner.graphs
    return [request.output_token_ids for request in requests], {
        "seconds": round(perf_counter() - start, 2),
        "steps": engine.times.num_steps,
        "drafted": engine.counters.num_draft_tokens,
        "accepted": engine.counters.num_accepted_tokens,
        "preemptions": engine.scheduler.num_preemptions,
        "graphs": 0 if graphs is None else len(graphs),
    }


def _audit(
    runner: ModelRunner, prompt: list[int], mine: list[int], theirs: list[int], params: Any
) -> Report:
    """Say where two texts part, and how near the choice there was to another."""
    place = next(i for i, (a, b) in enumerate(zip(mine, theirs, strict=True)) if a != b)
    tokens = prompt + theirs[:place]
    runner.allocate(len(tokens), 1)
    logits = run_in_pieces(runner, tokens, (len(tokens),))[-1].float().cpu()
    if params.greedy:
        best = logits.topk(2).values
        margin = float(best[0] - best[1])
    else:
        reached = probabilities(logits, params).double().cumsum(0)
        drawn = uniform(params.seed, Purpose.TARGET, len(tokens))
        margin = float((reached - drawn).abs().min())
    return {"position": place, "margin": margin, "near_tie": margin < NEAR_TIE}
