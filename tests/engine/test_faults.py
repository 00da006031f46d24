"""The proofs bite: known bugs are planted one by one, and each must be seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch

from fairdraft.config import SamplingParams
from fairdraft.draft import EMPTY_DRAFT, Verdict
from fairdraft.engine import engine as engine_module
from fairdraft.engine.engine import Engine
from fairdraft.engine.scheduler import Scheduler
from fairdraft.engine.verdicts import Verifier
from fairdraft.errors import IntegrityError, ProposerError
from fairdraft.kv import KVManager
from fairdraft.models.batch import FlatBatch
from fairdraft.proposers import Proposer, Settled
from fairdraft.request import Request
from fairdraft.sampling.batch import Memory, RoundBatch
from fairdraft.sampling.rounds import Way
from fairdraft.testing import (
    ToyProposer,
    ToyRunner,
    ToyTreeProposer,
    toy_config,
    toy_continuation,
)
from fairdraft.verification import match

PROMPTS = [tuple(range(i, i + 6)) for i in range(6)]
PARAMS = SamplingParams(temperature=0, frequency_penalty=1.0, max_tokens=20)


class Witness(Proposer):
    """Notes everything the engine shows to a proposer, and checks it against the request."""

    def __init__(self, proposer: Proposer) -> None:
        super().__init__(proposer.num_speculative_tokens)
        self.proposer = proposer
        self.drafts_trees = proposer.drafts_trees
        self.live: dict[str, Request] = {}
        self.seen: dict[str, list[int]] = {}
        self.drafted: list[tuple[int, ...]] = []  # texts with a draft behind them

    def propose(self, requests, budgets, slots, noise):  # type: ignore[no-untyped-def]
        drafts = self.proposer.propose(requests, budgets, slots, noise)
        for request, draft in zip(requests, drafts, strict=True):
            self.drafted.append((*request.token_ids, *draft.tokens_before(len(draft))))
        return drafts

    def start(self, request: Request) -> None:
        self.live[request.request_id] = request
        self.seen.pop(request.request_id, None)

    def observe(self, rows: Settled) -> None:
        for i, request_id in enumerate(rows.request_ids):
            span = slice(rows.cu_rows[i], rows.cu_rows[i + 1])
            text = self.live[request_id].token_ids
            first = rows.positions[rows.cu_rows[i]]
            seen = self.seen.setdefault(request_id, text[:first])
            assert list(rows.positions[span]) == list(
                range(len(seen), len(seen) + len(rows.token_ids[span]))
            )
            seen.extend(rows.token_ids[span])
            assert seen == text[: len(seen)], "a proposer saw a rejected token"
            following = text[len(seen) : len(seen) + 1]
            assert list(rows.next_token_ids[span])[-1:] == following


CHAINS = partial(ToyProposer, 4, accuracy=0.7)
TREES = partial(ToyTreeProposer, 6)


def survives(drafter: Callable[[], Proposer] = CHAINS) -> bool:
    """Whether an engine under all kinds of stress says what plain decoding says."""
    try:
        for options in (
            {},
            {"num_gpu_blocks_override": 13, "max_num_batched_tokens": 12},
            {"max_num_seqs": 1, "block_size": 2},
        ):
            config = toy_config(**options)
            witness = Witness(drafter())
            engine = Engine(config, ToyRunner(), proposer=witness)
            requests = []
            for prompt in (*PROMPTS, *PROMPTS):
                requests.append(engine.add_request(prompt, PARAMS))
                engine.step()
            while engine.has_unfinished_requests:
                engine.step()
            # Prompts that begin as cached texts do, and as rejected drafts did.
            prompts = [tuple(request.token_ids[:-4]) for request in requests[:6]]
            prompts += [(*text[: 4 * (len(text) // 4)], 0) for text in witness.drafted[::3]]
            for prompt in prompts:
                if len(prompt) <= 24:
                    requests.append(engine.add_request(prompt, PARAMS))
            while engine.has_unfinished_requests:
                engine.step()
            if any(r.output_token_ids != toy_continuation(r, 20) for r in requests):
                return False
    except (ProposerError, IntegrityError):
        return False
    return True


@pytest.mark.parametrize("drafter", [CHAINS, TREES])
def test_without_a_fault_it_survives(drafter: Callable[[], Proposer]) -> None:
    assert survives(drafter)


def stale_kv_after_rejection(patch: pytest.MonkeyPatch) -> None:
    """The slot of a rejected token is not written over by the token that took its place."""
    build = engine_module.flat_batch

    def faulty(step: Any, *rest: Any) -> FlatBatch:
        batch = build(step, *rest)
        slots = batch.slots.clone()
        for i, entry in enumerate(step):
            first = batch.cu_rows[i]
            if entry.request.counters.num_rejections and len(entry.draft):
                slots[first] = slots[first + 1]
        return replace(batch, slots=slots)

    patch.setattr(engine_module, "flat_batch", faulty)


def mask_off_by_one(patch: pytest.MonkeyPatch) -> None:
    """Each row sees one row too many of its own step."""
    visible = FlatBatch.visible

    def faulty(self: FlatBatch, request: int, window: int | None) -> Any:
        mask = visible(self, request, window).clone()
        rows, context = mask.shape[0], self.context_lens[request]
        for row in range(rows - 1):
            mask[row, context + row + 1] = True
        return mask

    patch.setattr(FlatBatch, "visible", faulty)


def bonus_token_from_the_wrong_row(patch: pytest.MonkeyPatch) -> None:
    """After full acceptance the last draft token's own row is read again."""
    verdicts = Verifier.verdicts

    def faulty(self: Verifier, step: Any, *rest: Any) -> Any:
        told = verdicts(self, step, *rest)
        for i, (entry, verdict) in enumerate(zip(step, told, strict=True)):
            if verdict is not None and verdict.path and verdict.num_accepted == len(entry.draft):
                told[i] = Verdict(verdict.path, entry.draft.token_ids[-1])
        return told

    patch.setattr(Verifier, "verdicts", faulty)


def positions_off_by_one_after_partial_acceptance(patch: pytest.MonkeyPatch) -> None:
    """The step after a rejection runs at positions that still count a rejected token."""
    build = engine_module.flat_batch

    def faulty(step: Any, *rest: Any) -> FlatBatch:
        batch = build(step, *rest)
        positions = batch.positions.clone()
        for i, entry in enumerate(step):
            if entry.request.counters.num_rejections:
                positions[batch.cu_rows[i] : batch.cu_rows[i + 1]] += 1
        return replace(batch, positions=positions)

    patch.setattr(engine_module, "flat_batch", faulty)


def block_hashed_before_acceptance(patch: pytest.MonkeyPatch) -> None:
    """Blocks are offered for reuse as soon as they are scheduled, drafts included."""
    schedule = Scheduler.schedule

    def faulty(self: Scheduler) -> Any:
        step = schedule(self)
        for entry in step:
            request, known = entry.request, list(entry.request.token_ids)
            request.token_ids.extend(entry.draft.token_ids)
            self.kv.publish(request)
            request.token_ids[:] = known
        return step

    patch.setattr(Scheduler, "schedule", faulty)


def proposer_sees_a_rejected_token(patch: pytest.MonkeyPatch) -> None:
    """Rows of rejected drafts are handed on."""
    rows = engine_module.settled

    def faulty(step: Any, verdicts: Any, *rest: Any) -> Settled:
        all_stand = [
            verdict and Verdict(tuple(range(len(entry.draft))), verdict.token)
            for entry, verdict in zip(step, verdicts, strict=True)
        ]
        return rows(step, all_stand, *rest)

    patch.setattr(engine_module, "settled", faulty)


def penalties_that_miss_the_draft(patch: pytest.MonkeyPatch) -> None:
    """Every row of a verification run is penalised for the accepted tokens only."""

    def faulty(self: Verifier, wanted: Any, logits: torch.Tensor) -> list[Verdict | None]:
        told: list[Verdict | None] = []
        for request, draft, span in wanted:
            batch = RoundBatch(logits)
            for row in range(span.start, span.stop):
                batch.add(request, EMPTY_DRAFT, row, Way.LIKELIEST)
            own = [verdict.token for verdict in batch.verdicts(Memory()) if verdict is not None]
            told.append(match(draft, own.__getitem__))
        return told

    patch.setattr(Verifier, "decide", faulty)


def prefix_hit_that_covers_the_last_token(patch: pytest.MonkeyPatch) -> None:
    """Reuse goes one token too far, and the row whose logits are wanted never runs."""
    reuse = KVManager.reuse_prefix

    def faulty(self: KVManager, request: Request) -> None:
        reuse(self, request)
        if request.num_computed_tokens:
            request.num_computed_tokens += 1

    patch.setattr(KVManager, "reuse_prefix", faulty)


@pytest.mark.parametrize(
    "plant",
    [
        stale_kv_after_rejection,
        mask_off_by_one,
        bonus_token_from_the_wrong_row,
        positions_off_by_one_after_partial_acceptance,
        block_hashed_before_acceptance,
        proposer_sees_a_rejected_token,
        penalties_that_miss_the_draft,
        prefix_hit_that_covers_the_last_token,
    ],
)
def test_fault_is_caught(
    plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    assert not survives()


def siblings_that_see_each_other(patch: pytest.MonkeyPatch) -> None:
    """The mask of a tree is the mask of a chain."""
    build = engine_module.flat_batch

    def faulty(step: Any, *rest: Any) -> FlatBatch:
        return replace(build(step, *rest), ancestors={})

    patch.setattr(engine_module, "flat_batch", faulty)


def node_positions_from_the_flat_index(patch: pytest.MonkeyPatch) -> None:
    """A node stands where it lies, not where its path has led."""
    build = engine_module.flat_batch

    def faulty(step: Any, *rest: Any) -> FlatBatch:
        batch = build(step, *rest)
        positions = batch.positions.clone()
        for i, entry in enumerate(step):
            span = slice(batch.cu_rows[i], batch.cu_rows[i + 1])
            positions[span] = entry.start + torch.arange(entry.num_new_tokens)
        return replace(batch, positions=positions)

    patch.setattr(engine_module, "flat_batch", faulty)


def the_wrong_branchs_kv_is_kept(patch: pytest.MonkeyPatch) -> None:
    """The first branch stays where the accepted one should go."""
    patch.setattr(engine_module, "moved_slots", lambda *_: ([], []))


@pytest.mark.parametrize(
    "plant",
    [
        siblings_that_see_each_other,
        node_positions_from_the_flat_index,
        the_wrong_branchs_kv_is_kept,
    ],
)
def test_fault_in_a_tree_is_caught(
    plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    assert not survives(TREES)
