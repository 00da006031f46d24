"""One step of the machine: schedule → run → verify → update → propose."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from time import perf_counter
from typing import Any

import torch

from fairdraft.config import EngineConfig, SamplingParams
from fairdraft.draft import Verdict
from fairdraft.engine.admission import Admission, check_max_model_len, num_kv_blocks
from fairdraft.engine.detokenizer import Detokenizer
from fairdraft.engine.draft_lengths import DraftLengths, FixedLength, LengthsByBatchSize
from fairdraft.engine.drafting import Drafting, naming
from fairdraft.engine.scheduler import ScheduledRequest, Scheduler
from fairdraft.engine.step_batch import flat_batch, logit_spans, moved_slots, settled
from fairdraft.engine.step_output import StepOutput, logprobs_of, trace_record
from fairdraft.engine.verdicts import Verifier
from fairdraft.errors import (
    ConfigError,
    EngineError,
    FairdraftError,
    IntegrityError,
    RequestError,
)
from fairdraft.kv import KVManager
from fairdraft.models import FlatBatch, Runner, RunOutput
from fairdraft.proposers import Needs, Proposer, Settled
from fairdraft.request import Cut, Request
from fairdraft.sampling.sampler import DraftNoise
from fairdraft.telemetry import SpecCounters, StepTimes, StepTrace
from fairdraft.verification import STANDARD


class Engine:
    """Requests in, tokens out: schedule, run, verify, update, propose.

    Attributes:
        outputs: what the latest step gave each request, also where it raised.

    Args:
        config: limits and switches.
        runner: the target.
        tokenizer: the transformers tokenizer; None works on token ids only, without stop strings.
        eos_token_ids: tokens that end a text.
        proposer: drafts; None is off.
        draft_lengths: how long the drafts may be; None asks for k tokens always.
        trace: where to write what each step did.
    """

    def __init__(
        self,
        config: EngineConfig,
        runner: Runner,
        tokenizer: Any = None,
        eos_token_ids: frozenset[int] = frozenset(),
        proposer: Proposer | None = None,
        draft_lengths: DraftLengths | None = None,
        trace: StepTrace | None = None,
    ) -> None:
        self.config = config
        self.runner = runner
        self.tokenizer = tokenizer
        self.eos_token_ids = eos_token_ids
        self.proposer = proposer
        speculative = config.speculative_config
        if draft_lengths is None:
            draft_lengths = FixedLength(proposer.num_speculative_tokens if proposer else 0)
            if speculative is not None and speculative.lengths_per_batch_size:
                draft_lengths = LengthsByBatchSize(speculative.lengths_per_batch_size)
        self.draft_lengths: DraftLengths = draft_lengths
        self.trace = trace
        self.rule = speculative.rule if speculative else STANDARD
        self.noise = DraftNoise(coupled=self.rule.shares_noise)
        if proposer is not None and proposer.drafts_trees and not self.rule.takes_trees:
            raise ConfigError(
                f"rejection_sample_method {self.rule.name!r} takes chains, but the proposer drafts "
                "trees: use 'standard' or 'coupled', or a method that drafts chains"
            )
        self.verifier = Verifier(self.rule)
        self.max_model_len = check_max_model_len(config, runner)
        if proposer is not None:
            with naming(proposer, "bind"):
                proposer.bind(runner)
        num_blocks = num_kv_blocks(config, runner, self.max_model_len)
        runner.allocate(num_blocks * config.block_size, config.block_size)
        self.needs = proposer.needs if proposer else Needs(rows=False)
        caching = config.enable_prefix_caching
        self.scheduler = Scheduler(
            KVManager(num_blocks, config.block_size, caching, self.needs.next_token),
            config.max_num_seqs,
            config.max_num_batched_tokens,
            self.max_model_len,
            self.needs.num_lookahead_tokens,
        )
        self.admission = Admission(config, runner, tokenizer, eos_token_ids, self.scheduler)
        self.counters = SpecCounters()
        self.times = StepTimes()
        self.drafting: Drafting | None = None
        if proposer is not None:
            limit = speculative.max_model_len if speculative else None
            self.drafting = Drafting(
                proposer, draft_lengths, self.noise, self.scheduler, runner.vocab_size, limit
            )
        self.outputs: list[StepOutput] = []
        self._requests: dict[str, Request] = {}
        self._detokenizers: dict[str, Detokenizer] = {}

    def add_request(
        self,
        prompt_token_ids: Sequence[int],
        params: SamplingParams,
        request_id: str | None = None,
        seed: int | None = None,
        cache_salt: str | None = None,
    ) -> Request:
        """Queue a prompt: `Admission.make_request` and `admit` in one, with their arguments.

        Not while another thread steps: callers that share an engine go through the `Router`.

        Raises:
            RequestError: the model or the KV pool cannot serve it, or its id is in use.
        """
        request = self.admission.make_request(
            prompt_token_ids, params, request_id, seed, cache_salt
        )
        self.admit(request)
        return request

    def admit(self, request: Request) -> None:
        """Queue a request that was made by `admission`.

        Raises:
            RequestError: its id is in use.
            CheckpointError: the tokenizer cannot stream.
        """
        if request.request_id in self._requests:
            raise RequestError(f"the request id {request.request_id!r} is in use: choose another")
        if self.tokenizer is not None:  # may refuse, and then nothing is queued
            self._detokenizers[request.request_id] = Detokenizer(self.tokenizer, request.params)
        self.scheduler.add(request)
        self._requests[request.request_id] = request

    def abort(self, request_id: str) -> None:
        """End a request now; unknown and finished ones are left alone."""
        request = self._requests.get(request_id)
        if request is not None:
            request.end("abort")
            self._finish(request)

    @property
    def has_unfinished_requests(self) -> bool:
        """Whether a step would do anything."""
        return bool(self._requests)

    def step(self) -> list[StepOutput]:
        """Run one step.

        A step that fails ends its requests with an error of their own, gives their blocks back, and
        leaves an engine that can go on; `outputs` tells of them.

        Returns:
            One entry for each request that gained tokens or ended: `outputs`.

        Raises:
            EngineError: the step failed; a `ProposerError` if it was the proposer's fault.
            IntegrityError: blocks leaked, seen when the last request has ended.
        """
        times = StepTimes(num_steps=1)
        self.outputs = []
        with self._faults_end_requests():
            with _timed(times, "schedule"):
                step = self.scheduler.schedule()
                if self._requests and not step:
                    raise IntegrityError("requests wait, yet the scheduler runs none of them")
                if self.drafting is not None:
                    self.drafting.start(step)
                batch = flat_batch(step, self.config.block_size, self.runner.device)
                spans = logit_spans(step)
            with _timed(times, "run"):
                output = self.runner.run(batch, self.needs.layers)
            with _timed(times, "verify"):
                verdicts = self.verifier.verdicts(step, spans, output.logits)
            with _timed(times, "update"):
                sources, targets = moved_slots(step, verdicts, self.scheduler.kv)
                if sources:
                    self.runner.move(sources, targets)
                self.outputs = self._settle(step, spans, verdicts, output)
            with _timed(times, "propose"):
                if self.drafting is not None:
                    self.drafting.propose(self._settled(step, verdicts, batch, output, times.total))
            self.times.add(times)
            if self.trace is not None:
                self.trace.write(trace_record(self.times.num_steps - 1, times, step, self.outputs))
        self._finish_ended(self.outputs)
        return self.outputs

    @contextmanager
    def _faults_end_requests(self) -> Iterator[None]:
        """End the requests of a step that fails with an error of their own, and raise it.

        An interrupt (Ctrl-C) ends them too, and is raised as it is.
        """
        try:
            yield
        except BaseException as fault:
            error = fault if isinstance(fault, FairdraftError) else _step_failed(fault)
            gained = {output.request.request_id: output for output in self.outputs}
            self.outputs = []
            for request in list(self.scheduler.running) or list(self._requests.values()):
                if request.finish_reason is None:
                    request.end("error", error)
                told = gained.get(request.request_id, StepOutput.of(request))
                self.outputs.append(
                    replace(told, finish_reason=request.finish_reason, error=request.error)
                )
            self._finish_ended(self.outputs)
            if error is fault or not isinstance(fault, Exception):
                raise
            raise error from fault

    def _finish_ended(self, outputs: Sequence[StepOutput]) -> None:
        for output in outputs:
            if output.finish_reason is not None:
                self._finish(output.request)

    def _settle(
        self,
        step: Sequence[ScheduledRequest],
        spans: Sequence[slice],
        verdicts: Sequence[Verdict | None],
        output: RunOutput,
    ) -> list[StepOutput]:
        """Find where each request is cut, let the scheduler count, and say what each gained."""
        cuts: list[Cut | None] = []
        texts: list[str] = []
        for entry, verdict in zip(step, verdicts, strict=True):
            cut, text = None, ""
            if verdict is not None:
                cut = self.scheduler.cut(entry, verdict)
                detokenizer = self._detokenizers.get(entry.request.request_id)
                if detokenizer is not None:
                    text, cut = detokenizer.add(entry.request, cut)
            cuts.append(cut)
            texts.append(text)
        self.scheduler.update_from_output(step, verdicts, cuts)
        outputs: list[StepOutput] = []
        for entry, verdict, cut, text, span in zip(step, verdicts, cuts, texts, spans, strict=True):
            if verdict is not None and cut is not None:
                outputs.append(self._gained(entry, verdict, cut, text, output.logits[span]))
            elif entry.request.error is not None:
                outputs.append(StepOutput.of(entry.request))
        return outputs

    def _gained(
        self,
        entry: ScheduledRequest,
        verdict: Verdict,
        cut: Cut,
        text: str,
        logits: torch.Tensor,
    ) -> StepOutput:
        """Count what a request gained, and say it; `logits` [1 + len(draft), V] are its rows'."""
        request, draft = entry.request, entry.draft
        tokens = cut.token_ids
        rows = [0, *(node + 1 for node in verdict.path)]  # the row that each token came from
        tree = () if draft.is_chain else (draft.depths[1:], bool(draft.children[rows[-1]]))
        counts = len(draft), len(verdict.path), len(tokens)
        for counters in (self.counters, request.counters):
            counters.record(*counts, *tree)
        logprobs = None
        if request.params.logprobs is not None:
            logprobs = logprobs_of(logits, rows[: len(tokens)], tokens, request.params.logprobs)
        path = verdict.path[: len(tokens)]
        return StepOutput.of(request, tokens, draft=draft, path=path, text=text, logprobs=logprobs)

    def _settled(
        self,
        step: Sequence[ScheduledRequest],
        verdicts: Sequence[Verdict | None],
        batch: FlatBatch,
        output: RunOutput,
        seconds: float,
    ) -> Settled:
        """Return what the proposer is shown of the step; the rows only if it needs them."""
        if self.needs.rows:
            return settled(step, verdicts, self.scheduler.kv, batch, output, seconds)
        names = [entry.request.request_id for entry in step if entry.request.error is None]
        return Settled(names, seconds=seconds)

    def _finish(self, request: Request) -> None:
        """Give a request's blocks back and let everybody forget it."""
        self.scheduler.finish(request)
        del self._requests[request.request_id]
        self._detokenizers.pop(request.request_id, None)
        if self.drafting is not None:
            self.drafting.finish(request)
        if not self._requests:
            self.scheduler.check_integrity()


@contextmanager
def _timed(times: StepTimes, verb: str) -> Iterator[None]:
    start = perf_counter()
    yield
    setattr(times, verb, perf_counter() - start)


def _step_failed(fault: BaseException) -> EngineError:
    """Return what the requests of a failed step end with."""
    reason = f"{type(fault).__name__}: {fault}" if str(fault) else type(fault).__name__
    error = EngineError(
        f"the step that ran this request failed ({reason}); the engine goes on: give the prompt "
        "again"
    )
    error.__cause__ = fault
    return error
