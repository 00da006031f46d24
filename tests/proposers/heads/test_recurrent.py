"""A head that looked away drafts what it would have drafted, or reads from a later block on."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM as Auto

from fairdraft import SamplingParams
from fairdraft.config import EngineConfig
from fairdraft.draft import EMPTY_DRAFT, Draft
from fairdraft.engine.engine import Engine
from fairdraft.errors import ProposerError
from fairdraft.models import ModelRunner
from fairdraft.proposers import Settled
from fairdraft.proposers.drafting import Underway
from fairdraft.proposers.heads import Eagle3Proposer, recurrent
from fairdraft.proposers.heads.recurrent import RecurrentDrafter
from fairdraft.request import Request
from tests.conftest import tiny_tokenizer
from tests.heads.conftest import write_head
from tests.heads.plain import eagle3_logits

__all__ = ["write_head"]

Write = Callable[..., Path]
Tiny = Callable[[str], Path]
SIZE = 4  # of a block
SHORT = SamplingParams(temperature=0, max_tokens=2, ignore_eos=True)
GREEDY = SamplingParams(temperature=0, max_tokens=16, ignore_eos=True)
SAMPLED = SamplingParams(temperature=0.7, max_tokens=16, ignore_eos=True)
PROMPTS = [tuple((7 * i + j * j) % 256 for j in range(5 + 6 * i)) for i in range(4)]
# Beginnings that are cached, and go on otherwise right behind a block. The first text ends before
# the head has run any of it.
PROMPTS += [(*PROMPTS[3][:16], i, 7) for i in range(2)]
PROMPTS.insert(0, (*PROMPTS[3][:18], 9))


class Behind:
    """A target that has read some tokens and says nothing of them."""

    def __init__(self, model: Any, before: Sequence[int]) -> None:
        self.model = model
        self.before = before
        self.get_input_embeddings = model.get_input_embeddings

    def __call__(self, ids: Tensor, output_hidden_states: bool) -> Any:
        whole = torch.cat([torch.tensor([self.before], dtype=torch.int64), ids], 1)
        found = self.model(whole, output_hidden_states=True).hidden_states
        return SimpleNamespace(hidden_states=[state[:, len(self.before) :] for state in found])


class Sleepy(RecurrentDrafter):
    """Looks away for most steps; awake it is held against a plain computation.

    The plain one reads the text from the block on from which the head reads it.
    """

    tensors: dict[str, Tensor]
    document: dict[str, Any]
    reference: Any
    naps: int  # steps in a row
    step = compared = most_kept = 0

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.left_out: list[int] = []  # tokens that the head had not read, of each draft
        self.read: list[int] = []  # and those that it had

    @property
    def asleep(self) -> bool:
        return self.step % (self.naps + 3) < self.naps

    def observe(self, rows: Settled) -> None:
        self.step += 1
        if self.asleep:
            self.defer(rows)
        else:
            super().observe(rows)
        for name, state in self._states.items():
            assert state.num_unread == sum(last - first for _, first, last in state.unread)
            self.most_kept = max(self.most_kept, self.num_deferred([name]))

    def drafted(self, underway: Sequence[Underway]) -> None:
        assert not self.num_deferred([draft.request.request_id for draft in underway])

    @torch.inference_mode()
    def run(self, underway: Sequence[Underway]) -> Tensor:
        logits = super().run(underway)
        row = 0
        for draft in underway:
            first = self._states[draft.request.request_id].first_block * SIZE
            self.left_out.append(first)
            self.read.append(draft.request.num_tokens - first)
            for newest in range(draft.num_newest):
                node = len(draft.nodes) - draft.num_newest + newest
                path = draft.nodes.tokens_before(node + 1) if len(draft.nodes) else ()
                text = [*draft.request.token_ids, *path]
                target = Behind(self.reference, text[:first])
                plain = eagle3_logits(
                    self.tensors, self.document, target, text[first:], len(path) + 1
                )
                gap = (logits[row] - plain[-1]).abs().max() / plain[-1].abs().max()
                assert gap < 1e-5, f"not what a plain computation says: {gap:.1e}"
                row += 1
                self.compared += 1
        return logits


class SleepyProposer(Eagle3Proposer):
    """EAGLE-3 with a drafter of the test's own."""

    drafter: Sleepy

    def __init__(
        self, kind: type[Sleepy], model: Path, reference: Any, naps: int, **options: Any
    ) -> None:
        super().__init__(2, str(model), **options)
        self.kind, self.folder, self.reference, self.naps = kind, model, reference, naps

    def bind(self, target: Any) -> None:
        super().bind(target)
        made: Any = self.drafter
        self.drafter = self.kind(made.head, target, self.shape, made.kv_layers)
        self.drafter.tensors = load_file(self.folder / "model.safetensors")
        self.drafter.document = json.loads((self.folder / "config.json").read_text())
        self.drafter.reference, self.drafter.naps = self.reference, self.naps

    def propose(self, requests: Sequence[Request], *others: Any) -> list[Draft]:
        if self.drafter.asleep:
            return [EMPTY_DRAFT] * len(requests)
        return super().propose(requests, *others)


def target(tiny: Tiny) -> ModelRunner:
    model = Auto.from_pretrained(tiny("llama"), dtype=torch.float32)
    return ModelRunner(model, tokenizer=tiny_tokenizer())


def texts(tiny: Tiny, proposer: Eagle3Proposer | None, **options: Any) -> list[list[int]]:
    """What the engine writes; half of it sampled, so that drafts are often rejected."""
    defaults: dict[str, Any] = {"block_size": SIZE, "max_num_seqs": 3, "max_model_len": 64}
    engine = Engine(EngineConfig("tiny", **(defaults | options)), target(tiny), proposer=proposer)
    requests = []
    for i, prompt in enumerate(PROMPTS):
        params = (GREEDY, SAMPLED)[i % 2] if i else SHORT
        requests.append(engine.add_request(prompt, params, seed=i))
        engine.step()
    while engine.has_unfinished_requests:
        engine.step()
    return [request.output_token_ids for request in requests]


@pytest.fixture
def sleepy(tiny: Tiny, write_head: Write) -> Callable[..., SleepyProposer]:
    def make(kind: type[Sleepy] = Sleepy, naps: int = 6, **options: Any) -> SleepyProposer:
        reference = Auto.from_pretrained(
            tiny("llama"), dtype=torch.float32, attn_implementation="eager"
        )
        return SleepyProposer(kind, write_head(), reference, naps, **options)

    return make


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_gpu_blocks_override": 20, "max_num_batched_tokens": 7},
        {"draft_tree_top_k": 2, "draft_tree_depth": 2},
    ],
)
def test_what_it_did_not_see_at_once_it_reads_when_asked(
    options: dict[str, Any], tiny: Tiny, sleepy: Callable[..., SleepyProposer]
) -> None:
    """While the rows that wait are kept, nothing is lost."""
    schedule = {name: value for name, value in options.items() if "draft" not in name}
    proposer = sleepy(**{name: options[name] for name in options.keys() - schedule.keys()})
    texts(tiny, proposer, enable_prefix_caching=False, **schedule)
    assert proposer.drafter.compared > 30
    assert proposer.drafter.most_kept > 10
    assert not any(proposer.drafter.left_out)


def test_prefix_hits_on_blocks_that_it_never_ran(
    tiny: Tiny, sleepy: Callable[..., SleepyProposer]
) -> None:
    proposer = sleepy()
    assert texts(tiny, proposer) == texts(tiny, None)
    assert proposer.drafter.compared > 30
    assert any(proposer.drafter.left_out)
    assert 0 in proposer.drafter.left_out


def test_what_it_keeps_is_bounded(
    tiny: Tiny, sleepy: Callable[..., SleepyProposer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two blocks here; it then reads the text from a later block on, and still drafts."""
    monkeypatch.setattr(recurrent, "UNREAD_ROWS", 2)
    proposer = sleepy(naps=14)
    assert texts(tiny, proposer, enable_prefix_caching=False) == texts(tiny, None)
    assert proposer.drafter.most_kept == 2 * SIZE
    assert proposer.drafter.compared > 10
    assert any(proposer.drafter.left_out)
    assert min(proposer.drafter.read) > SIZE  # all but a part of the first block kept


def test_a_long_prompt_is_not_kept_whole(
    tiny: Tiny, write_head: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor the memory behind its rows."""
    monkeypatch.setattr(recurrent, "UNREAD_ROWS", 16)

    class Away(Eagle3Proposer):
        most = 0

        def observe(self, rows: Settled) -> None:
            self.defer(rows)
            drafter: Any = self.drafter
            for state in drafter._states.values():
                states = [hidden for rows, _, _ in state.unread for hidden in rows.hidden.values()]
                held = {each.untyped_storage().data_ptr(): each for each in states}
                sizes = [each.untyped_storage().nbytes() for each in held.values()]
                rows_held = sum(sizes) // (3 * 64 * 4)
                Away.most = max(Away.most, rows_held)

        def propose(self, requests: Sequence[Request], *others: Any) -> list[Draft]:
            return [EMPTY_DRAFT] * len(requests)

    engine = Engine(
        EngineConfig("tiny", block_size=SIZE), target(tiny), proposer=Away(2, str(write_head()))
    )
    engine.add_request([i % 256 for i in range(150)], GREEDY)
    while engine.has_unfinished_requests:
        engine.step()
    assert 16 <= Away.most <= 32


# --- planted faults


class Trusting(Sleepy):
    """Takes every cached block for one that it has run."""

    def defer(self, rows: Settled) -> None:
        super().defer(rows)
        self._unwritten.clear()


class Unshifted(Sleepy):
    """Reads the blocks that it never ran as well."""

    def _shifted(self, batch: Any, states: Any) -> Any:
        return batch


class Forgetful(Sleepy):
    """Leaves out a row that waits."""

    def _catch_up(self, states: Any) -> None:
        for state in states:
            if len(state.unread) > 2:
                del state.unread[1]
        super()._catch_up(states)


@pytest.mark.parametrize("fault", [Trusting, Unshifted, Forgetful])
def test_a_fault_is_caught(
    fault: type[Sleepy], tiny: Tiny, sleepy: Callable[..., SleepyProposer]
) -> None:
    with pytest.raises(ProposerError, match="not what a plain computation says"):
        texts(tiny, sleepy(fault))


def test_a_block_marked_written_too_early_is_caught(
    tiny: Tiny, sleepy: Callable[..., SleepyProposer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where rows were dropped, the head must not read from the first row that is left, mid-block,
    as if the block were whole."""
    monkeypatch.setattr(recurrent, "UNREAD_ROWS", 2)

    class Late(Sleepy):
        def _catch_up(self, states: Any) -> None:
            for state in states:
                if state.unread:
                    rows, first, _ = state.unread[0]
                    begin = rows.positions[first] + max(state.num_unread - 2 * SIZE, 0)
                    state.num_read = max(state.num_read, begin)
            super()._catch_up(states)

    proposer = sleepy(Late, naps=14)
    with pytest.raises(ProposerError, match="not what a plain computation says"):
        texts(tiny, proposer, enable_prefix_caching=False)
