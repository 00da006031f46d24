"""Who runs now, how many tokens each, in which KV slots; and what stands afterwards.

There is no prefill phase, no decode phase and no speculative case here. A request has tokens that
are not computed yet, and a step computes some of them:

    num_new_tokens = min(num_tokens_with_spec − num_computed_tokens, what the budget leaves)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fairdraft.draft import Draft, Verdict
from fairdraft.errors import RequestError
from fairdraft.kv import KVManager
from fairdraft.request import Cut, Request, Status


@dataclass(frozen=True)
class ScheduledRequest:
    """One request's share of a step.

    Args:
        request: whose tokens run.
        start: tokens computed before the step; the first row's index.
        token_ids: of the rows that run.
        draft: the draft tokens among them, already trimmed; they are the last rows.
        begins: whether it just left the queue, for the first time or after a preemption.
        num_logit_rows: rows whose logits are wanted: none in the middle of a prompt, else the last
            1 + len(draft).
    """

    request: Request
    start: int
    token_ids: tuple[int, ...]
    draft: Draft
    begins: bool
    num_logit_rows: int

    @property
    def num_new_tokens(self) -> int:
        """How many rows run for the request."""
        return len(self.token_ids)

    def gained(self, verdict: Verdict) -> list[int]:
        """Tokens that a verdict adds: the accepted ones and the one after them."""
        token_ids = self.draft.token_ids
        return [*[token_ids[node] for node in verdict.path], verdict.token]


class Scheduler:
    """Continuous batching, first come first served, with preemption of the youngest.

    Args:
        kv: gives slots.
        max_num_seqs: requests that run at once.
        max_num_batched_tokens: rows of a step; at least `max_num_seqs`.
        max_model_len: tokens a request may reach.
        num_lookahead_tokens: slots reserved beyond a step's rows for the drafter's own KV.
    """

    def __init__(
        self,
        kv: KVManager,
        max_num_seqs: int,
        max_num_batched_tokens: int,
        max_model_len: int,
        num_lookahead_tokens: int = 0,
    ) -> None:
        self.kv = kv
        self.max_num_seqs = max_num_seqs
        self.max_num_batched_tokens = max_num_batched_tokens
        self.max_model_len = max_model_len
        self.num_lookahead_tokens = num_lookahead_tokens
        self.waiting: deque[Request] = deque()
        self.running: list[Request] = []
        self.num_preemptions = 0

    def check(self, request: Request) -> None:
        """Refuse a request that could never run.

        Raises:
            RequestError: at its longest it is larger than the whole KV pool.
        """
        longest = self.max_model_len
        if request.params.max_tokens is not None:
            longest = min(longest, request.num_prompt_tokens + request.params.max_tokens)
        needed = self.kv.num_blocks_for(longest + self.num_lookahead_tokens)
        if needed > self.kv.pool.num_blocks:
            raise RequestError(
                f"the request may reach {longest} tokens, that is {needed} KV blocks of "
                f"{self.kv.block_size}, but the pool has {self.kv.pool.num_blocks}: lower "
                "max_tokens, or raise num_gpu_blocks_override or kv_cache_memory_bytes"
            )

    def add(self, request: Request) -> None:
        """Queue a request that `check` lets pass."""
        self.waiting.append(request)

    @property
    def requests(self) -> Iterable[Request]:
        """Every request that runs or waits."""
        return (*self.running, *self.waiting)

    def schedule(self) -> list[ScheduledRequest]:
        """Choose the rows of the next step and reserve their slots.

        Running requests come first, oldest first, each with at least one token; then waiting ones
        while budget, seats and blocks last. Drafts are trimmed where something runs short.
        """
        budget = self.max_num_batched_tokens
        step: list[ScheduledRequest] = []
        preempted = False
        i = 0
        while i < len(self.running):
            request = self.running[i]
            owed = len(self.running) - i - 1  # one token to each request behind this one
            granted = self._grant(request, budget - owed)
            if granted == 0:
                preempted = True
                self._preempt(self.running[-1])  # the youngest; perhaps this very request
                continue
            step.append(self._start(request, granted, begins=False))
            budget -= granted
            i += 1
        while self.waiting and len(self.running) < self.max_num_seqs and budget and not preempted:
            request = self.waiting[0]
            self.kv.reuse_prefix(request)
            granted = self._grant(request, budget)
            if granted == 0:
                self.kv.free(request)
                break
            self.running.append(self.waiting.popleft())
            request.status = Status.RUNNING
            step.append(self._start(request, granted, begins=True))
            budget -= granted
        return step

    def _grant(self, request: Request, budget: int) -> int:
        """Tokens that may run and now have slots; 0 if the pool cannot hold even one."""
        start = request.num_computed_tokens
        wanted = min(request.num_tokens_with_spec - start, budget, self.max_model_len - start)
        needed = min(wanted, request.num_tokens - start)  # without drafts
        slots = self.kv.grow(request, start + needed, start + wanted, self.num_lookahead_tokens)
        return max(slots - start, 0)

    def _start(self, request: Request, num_new_tokens: int, begins: bool) -> ScheduledRequest:
        start = request.num_computed_tokens
        request.hold(request.draft.trimmed(max(start + num_new_tokens - request.num_tokens, 0)))
        request.advance(num_new_tokens)
        known = request.token_ids[start : request.num_computed_tokens]
        ends = request.num_computed_tokens == request.num_tokens_with_spec
        return ScheduledRequest(
            request,
            start,
            (*known, *request.draft.token_ids),
            request.draft,
            begins,
            1 + len(request.draft) if ends else 0,
        )

    def _preempt(self, request: Request) -> None:
        """Give all blocks back; the request computes its tokens again when its turn comes."""
        self.running.remove(request)
        self.kv.free(request)
        request.status = Status.WAITING
        request.num_preemptions += 1
        self.num_preemptions += 1
        self.waiting.appendleft(request)

    def cut(self, entry: ScheduledRequest, verdict: Verdict) -> Cut:
        """Find where the tokens that a verdict adds end the request; nothing is changed yet."""
        return entry.request.cut(entry.gained(verdict), self.max_model_len)

    def update_from_output(
        self,
        step: Sequence[ScheduledRequest],
        verdicts: Sequence[Verdict | None],
        cuts: Sequence[Cut | None],
    ) -> None:
        """Keep the accepted tokens and take the rejected ones back off the counters.

        Args:
            step: what `schedule` chose.
            verdicts: one per entry; None where no logits were wanted.
            cuts: one per verdict: what the request takes of `ScheduledRequest.gained`. Where it
                ends there, `finish` must be called for it.
        """
        for entry, verdict, cut in zip(step, verdicts, cuts, strict=True):
            request = entry.request
            if verdict is None or cut is None:
                request.reject(0)
            else:
                request.reject(len(entry.draft) - verdict.num_accepted)
                request.append(cut)
            self.kv.publish(request)

    def finish(self, request: Request) -> None:
        """Remove a request that ended or was aborted, at any moment between steps."""
        if request.status is Status.RUNNING:
            self.running.remove(request)
        elif request.status is Status.WAITING:
            self.waiting.remove(request)
        self.kv.free(request)
        request.status = Status.FINISHED

    def check_integrity(self) -> None:
        """Raise `IntegrityError` if blocks leaked or are shared by writers."""
        self.kv.check_integrity(self.requests)
