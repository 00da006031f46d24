"""A model drafts what it would draft from scratch, whatever was accepted, rejected or preempted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM as Auto

from fairdraft import LLM, SamplingParams
from fairdraft.config import EngineConfig
from fairdraft.draft import Draft
from fairdraft.engine.engine import Engine
from fairdraft.errors import CheckpointError, ConfigError, ProposerError
from fairdraft.models import FlatBatch, ModelRunner
from fairdraft.proposers.draft_model import DraftModelProposer
from fairdraft.proposers.draft_model.drafters import ModelDrafter
from fairdraft.request import Request
from fairdraft.sampling.sampler import DraftNoise
from fairdraft.testing import check_proposer
from fairdraft.testing.laws import last_logits
from tests.conftest import prefer_few_tokens, tiny_tokenizer, write_tiny

Tiny = Callable[[str], Path]
PARAMS = SamplingParams(temperature=0.7, max_tokens=14, ignore_eos=True)
GREEDY = SamplingParams(temperature=0, max_tokens=14, ignore_eos=True)
PROMPTS = [tuple((7 * i + j * j) % 256 for j in range(4 + 6 * i)) for i in range(5)]


@pytest.fixture(scope="module")
def smaller(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A two-layer Llama with the tiny target's tokenizer."""
    folder = tmp_path_factory.mktemp("smaller")
    return write_tiny(folder, "llama", 7, num_hidden_layers=2, layer_types=None)


def target(tiny: Tiny, kind: str = "llama") -> ModelRunner:
    model = Auto.from_pretrained(tiny(kind), dtype=torch.float32)
    return ModelRunner(model, tokenizer=tiny_tokenizer())


class FromScratch(DraftModelProposer):
    """Holds each draft against what the drafter says when it reads the whole text anew."""

    def bind(self, target: Any) -> None:
        super().bind(target)
        assert isinstance(self.drafter, ModelDrafter)
        self.fresh = ModelRunner(self.drafter.runner.model)

    def propose(
        self,
        requests: Sequence[Request],
        budgets: Sequence[int],
        slots: Sequence[Sequence[int]],
        noise: DraftNoise,
    ) -> list[Draft]:
        drafts = super().propose(requests, budgets, slots, noise)
        for request, draft in zip(requests, drafts, strict=True):
            for row, siblings in enumerate(draft.children):
                text = [*request.token_ids, *draft.tokens_before(row)]
                self.fresh.allocate(len(text), 1)
                best = last_logits(self.fresh, text)[0].topk(self.shape.width).indices.tolist()
                tokens = [draft.token_ids[node] for node in siblings]
                assert tokens == best[: len(tokens)], "not its own draft"
        return drafts


def run(proposer: DraftModelProposer, runner: ModelRunner, **options: Any) -> Engine:
    """Half of the requests sampled: chosen drafts are often rejected, and often partly."""
    defaults: dict[str, Any] = {"block_size": 4, "max_num_seqs": 4, "max_model_len": 64}
    engine = Engine(EngineConfig("tiny", **(defaults | options)), runner, proposer=proposer)
    for i, prompt in enumerate((*PROMPTS, *PROMPTS)):
        engine.add_request(prompt, (PARAMS, GREEDY)[i % 2], seed=i)
        engine.step()
    while engine.has_unfinished_requests:
        engine.step()
    return engine


@pytest.mark.parametrize(
    "options",
    [{}, {"num_gpu_blocks_override": 24, "max_num_batched_tokens": 12}, {"max_num_seqs": 1}],
)
def test_drafts_are_those_of_a_drafter_that_reads_anew(
    options: dict[str, Any], tiny: Tiny, smaller: Path
) -> None:
    engine = run(FromScratch(4, str(tiny("llama"))), target(tiny), **options)
    assert 0 < engine.counters.num_accepted_tokens < engine.counters.num_draft_tokens
    run(FromScratch(3, str(smaller)), target(tiny), **options)
    trees = FromScratch(7, str(smaller), draft_tree_top_k=2, draft_tree_depth=3)
    assert run(trees, target(tiny), **options).counters.num_draft_tokens


def test_the_target_as_its_own_draft_model_accepts_everything(tiny: Tiny) -> None:
    engine = Engine(
        EngineConfig("tiny", max_model_len=128),
        target(tiny),
        proposer=DraftModelProposer(4, str(tiny("llama"))),
    )
    greedy = SamplingParams(temperature=0, max_tokens=41, ignore_eos=True)
    for prompt in PROMPTS:
        engine.add_request(prompt, greedy)
    while engine.has_unfinished_requests:
        engine.step()
    assert engine.counters.num_accepted_tokens == engine.counters.num_draft_tokens
    assert engine.counters.mean_acceptance_length == 5


def test_a_tree_of_the_targets_own_is_never_refused(tiny: Tiny) -> None:
    """Where the tree goes on, it holds the likeliest token."""
    proposer = DraftModelProposer(16, str(tiny("llama")), draft_tree_top_k=2, draft_tree_depth=3)
    engine = Engine(EngineConfig("tiny", max_model_len=128), target(tiny), proposer=proposer)
    greedy = SamplingParams(temperature=0, max_tokens=41, ignore_eos=True)
    for prompt in PROMPTS:
        engine.add_request(prompt, greedy)
    while engine.has_unfinished_requests:
        engine.step()
    assert engine.counters.num_rejections == 0
    assert engine.counters.mean_acceptance_length > 3


def test_trees_pass_the_suite(tiny: Tiny) -> None:
    report = check_proposer(
        DraftModelProposer,
        runner=lambda: target(tiny),
        model=str(tiny("llama")),
        draft_tree_top_k=2,
    )
    assert report.deterministic
    assert report.accepted


def test_self_drafted_trees_pass_the_suite(tiny: Tiny) -> None:
    """Self-drafted chains: tests/testing/test_conformance.py."""
    report = check_proposer(DraftModelProposer, runner=lambda: target(tiny), draft_tree_top_k=2)
    assert report.accepted


@pytest.mark.parametrize("method", ["greedy", "probabilistic"])
def test_a_draft_model_passes_the_suite(
    method: str, tiny: Tiny, smaller: Path, tmp_path: Path
) -> None:
    def few(folder: Path) -> Any:
        return prefer_few_tokens(Auto.from_pretrained(folder, dtype=torch.float32))

    few(smaller).save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    report = check_proposer(
        DraftModelProposer,
        runner=lambda: ModelRunner(few(tiny("llama")), tokenizer=tiny_tokenizer()),
        model=str(tmp_path),
        draft_sample_method=method,
        draws=400,
    )
    assert report.deterministic == (method == "greedy")


@pytest.mark.parametrize("threshold", [0.5, 0.8])
def test_an_unsure_drafter_stops_and_changes_nothing(threshold: float, tiny: Tiny) -> None:
    """What it has read meanwhile is kept right: drafts are still those of one that reads anew."""
    full = run(FromScratch(4, str(tiny("llama"))), target(tiny))
    careful = FromScratch(4, str(tiny("llama")), draft_confidence_threshold=threshold)
    stopping = run(careful, target(tiny))
    assert 0 < stopping.counters.num_draft_tokens < full.counters.num_draft_tokens


def test_stopping_where_unsure_is_lossless(tiny: Tiny, smaller: Path) -> None:
    report = check_proposer(
        DraftModelProposer,
        runner=lambda: target(tiny),
        model=str(smaller),
        draft_sample_method="probabilistic",
        draft_confidence_threshold=0.3,
        draws=400,
    )
    assert not report.deterministic


def test_another_kind_of_model_may_draft(tiny: Tiny) -> None:
    engine = run(DraftModelProposer(3, str(tiny("gpt2"))), target(tiny))
    assert engine.counters.num_draft_tokens


def test_a_text_that_ends_in_the_middle_of_a_draft(tiny: Tiny) -> None:
    """The rows that stand then reach beyond the text."""
    proposer = FromScratch(12, str(tiny("llama")))
    engine = Engine(EngineConfig("tiny", block_size=4), target(tiny), proposer=proposer)
    params = SamplingParams(temperature=0, max_tokens=30, stop_token_ids=list(range(0, 320, 5)))
    requests = [engine.add_request(prompt, params) for prompt in PROMPTS * 2]
    while engine.has_unfinished_requests:
        engine.step()
    assert any(request.finish_reason == "stop" for request in requests)


def test_reused_blocks_hold_the_drafters_kv_too(tiny: Tiny) -> None:
    """Requests too short to be drafted for, then others that begin as they did."""
    runner = target(tiny)
    proposer = FromScratch(4, str(tiny("llama")))
    engine = Engine(EngineConfig("tiny", block_size=4, max_model_len=64), runner, proposer=proposer)
    for max_tokens in (1, 2, 9):
        params = SamplingParams(temperature=0, max_tokens=max_tokens, ignore_eos=True)
        requests = [engine.add_request((*prompt, 7), params) for prompt in PROMPTS]
        while engine.has_unfinished_requests:
            engine.step()
    assert all(request.num_cached_tokens for request in requests[1:])


# --- planted faults


def kv_not_rolled_back(patch: pytest.MonkeyPatch) -> None:
    """A rejected draft's KV stays where the token that took its place belongs."""
    run = ModelDrafter.logits

    def faulty(self: ModelDrafter, batch: FlatBatch) -> torch.Tensor:
        written = self.__dict__.setdefault("written", {})
        logits = run(self, batch)
        storage = self.runner.storage
        assert storage is not None
        for row, slot in enumerate(batch.slots.tolist()):
            place = int(batch.positions[row])
            if (slot, place) in written:
                storage.keys[0][slot] = written[slot, place]
            elif len(batch.slots) == batch.num_requests:  # one row each: a draft under way
                written[slot, place] = storage.keys[0][slot].clone()
        return logits

    patch.setattr(ModelDrafter, "logits", faulty)


def bonus_token_not_caught_up_on(patch: pytest.MonkeyPatch) -> None:
    """After a draft that stands whole its last token is taken as read."""
    unread = ModelDrafter.num_read

    def faulty(self: ModelDrafter, request: Request) -> int:
        had = self._drafted.get(request.request_id, 0) > 0
        count = unread(self, request)
        if had:
            self._read[request.request_id] = count = request.num_tokens - 1
        return count

    patch.setattr(ModelDrafter, "num_read", faulty)


@pytest.mark.parametrize("plant", [kv_not_rolled_back, bonus_token_not_caught_up_on])
def test_a_fault_in_the_drafters_kv_is_caught(
    plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch, tiny: Tiny
) -> None:
    plant(monkeypatch)
    with pytest.raises(ProposerError, match="not its own draft"):
        run(FromScratch(4, str(tiny("llama"))), target(tiny))


# --- refusals


def test_another_tokenizer_is_refused_with_the_reason(tiny: Tiny) -> None:
    config = {"method": "draft_model", "model": "demo"}
    with pytest.raises(ConfigError, match=r"another tokenizer than the target: of 258 and 49152"):
        LLM(str(tiny("llama")), speculative_config=config)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_draft_layers": 0}, "num_draft_layers is 0"),
        ({"num_draft_layers": 2, "model": "x"}, "leave it or model out"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DraftModelProposer(4, **options)


def test_a_draft_model_that_is_not_there(tiny: Tiny) -> None:
    with pytest.raises(CheckpointError, match="nowhere"):
        LLM(str(tiny("llama")), speculative_config={"method": "draft_model", "model": "/nowhere/x"})
