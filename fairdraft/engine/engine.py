"""One step of the machine: schedule → run → verify → update → propose."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import Any

import torch

from fairdraft.config import EngineConfig, SamplingParams
from fairdraft.draft import Draft, Verdict
from fairdraft.engine.batches import (
    StepOutput,
    flat_batch,
    moved_slots,
    row_ranges,
    standing_rows,
    trace_record,
)
from fairdraft.engine.controller import BatchSizeController, Controller, FixedController
from fairdraft.engine.detokenizer import Detokenizer
from fairdraft.engine.scheduler import ScheduledRequest, Scheduler
from fairdraft.errors import ConfigError, IntegrityError, RequestError
from fairdraft.kv import KVManager
from fairdraft.models import Runner, RunOutput
from fairdraft.proposers import Needs, Proposer
from fairdraft.request import Request
from fairdraft.sampling.noise import Purpose, derive_seed
from fairdraft.sampling.sampler import DraftNoise, RoundDraws, TargetRows
from fairdraft.telemetry import SpecCounters, StepTimes, StepTrace
from fairdraft.verification import STANDARD

DEFAULT_KV_BYTES = 4 * 2**30


class Engine:
    """Requests in, tokens out.

    Args:
        config: limits and switches.
        runner: the target.
        tokenizer: the transformers tokenizer; None works on token ids only, without stop strings.
        eos_token_ids: tokens that end a text.
        proposer: drafts; None is off.
        controller: how long the drafts may be; None asks for k tokens always.
        trace: where to write what each step did.
    """

    def __init__(
        self,
        config: EngineConfig,
        runner: Runner,
        tokenizer: Any = None,
        eos_token_ids: frozenset[int] = frozenset(),
        proposer: Proposer | None = None,
        controller: Controller | None = None,
        trace: StepTrace | None = None,
    ) -> None:
        self.config = config
        self.runner = runner
        self.tokenizer = tokenizer
        self.eos_token_ids = eos_token_ids
        self.proposer = proposer
        speculative = config.speculative_config
        if controller is None:
            controller = FixedController(proposer.num_speculative_tokens if proposer else 0)
            if speculative is not None and speculative.lengths_per_batch_size:
                controller = BatchSizeController(speculative.lengths_per_batch_size)
        self.controller: Controller = controller
        self.trace = trace
        self.rule = speculative.rule if speculative else STANDARD
        self.noise = DraftNoise(coupled=self.rule.shares_noise)
        if proposer is not None and proposer.drafts_trees and not self.rule.takes_trees:
            raise ConfigError(
                f"rejection_sample_method {self.rule.name!r} takes chains, but the proposer drafts "
                "trees: use 'standard' or 'coupled', or a method that drafts chains"
            )
        self.max_model_len = self._check_max_model_len()
        if proposer is not None:
            proposer.bind(runner)
        num_blocks = self._num_blocks()
        runner.allocate(num_blocks * config.block_size, config.block_size)
        needs = proposer.needs if proposer else Needs()
        caching = config.enable_prefix_caching
        self.scheduler = Scheduler(
            KVManager(num_blocks, config.block_size, caching, needs.next_token),
            config.max_num_seqs,
            config.max_num_batched_tokens,
            self.max_model_len,
            needs.num_lookahead_tokens,
        )
        self.counters = SpecCounters()
        self.times = StepTimes()
        self._requests: dict[str, Request] = {}
        self._detokenizers: dict[str, Detokenizer] = {}
        self._numbers = itertools.count()

    def _check_max_model_len(self) -> int:
        asked, limit = self.config.max_model_len, self.runner.max_model_len
        if asked is not None and asked > limit:
            raise ConfigError(
                f"max_model_len is {asked}, but the model was made for {limit} tokens: lower it"
            )
        return limit if asked is None else asked

    def _num_blocks(self) -> int:
        config = self.config
        if config.num_gpu_blocks_override is not None:
            return config.num_gpu_blocks_override
        per_block = self.runner.kv_bytes_per_token * config.block_size
        full = config.max_num_seqs * -(-self.max_model_len // config.block_size)
        budget = config.kv_cache_memory_bytes or DEFAULT_KV_BYTES
        num_blocks = budget // per_block if per_block else full
        if num_blocks == 0:
            raise ConfigError(
                f"kv_cache_memory_bytes is {budget}, but one block of {config.block_size} tokens "
                f"takes {per_block} bytes: raise it"
            )
        return min(num_blocks, full) if config.kv_cache_memory_bytes is None else num_blocks

    def add_request(
        self,
        prompt_token_ids: Sequence[int],
        params: SamplingParams,
        request_id: str | None = None,
        seed: int | None = None,
        cache_salt: str | None = None,
    ) -> Request:
        """Queue a prompt.

        Args:
            prompt_token_ids: at least one token, each below the vocabulary's size.
            params: sampling parameters; `n` is the caller's concern.
            request_id: unique among live requests; None makes one.
            seed: overrides `params.seed`; None for both derives one from the engine's seed.
            cache_salt: share cached prefixes and past text only with requests of the same salt.

        Raises:
            RequestError: the prompt is empty, too long, holds an unknown token, needs more KV than
                the pool has, the id is in use, or stop strings are asked for without a tokenizer.
        """
        number = next(self._numbers)
        request_id = str(number) if request_id is None else request_id
        if request_id in self._requests:
            raise RequestError(f"the request id {request_id!r} is in use: choose another")
        for token in prompt_token_ids:
            if not 0 <= token < self.runner.vocab_size:
                raise RequestError(
                    f"token id {token} is outside the vocabulary of {self.runner.vocab_size}: "
                    "encode the prompt with the model's own tokenizer"
                )
        for token in (*(params.logit_bias or {}), *(params.stop_token_ids or ())):
            if token >= self.runner.vocab_size:
                raise RequestError(
                    f"token id {token} in logit_bias or stop_token_ids is outside the vocabulary "
                    f"of {self.runner.vocab_size}: leave it out"
                )
        if self.tokenizer is None and (params.stop_strings or params.bad_words):
            raise RequestError("stop and bad_words need a tokenizer: use token ids instead")
        if seed is None:
            seed = params.seed
        request = Request(
            request_id,
            tuple(prompt_token_ids),
            params,
            derive_seed(self.config.seed, Purpose.REQUEST, number) if seed is None else seed,
            self.eos_token_ids,
            self._encode_bad_words(params),
            cache_salt,
        )
        self.scheduler.add(request)
        self._requests[request_id] = request
        if self.tokenizer is not None:
            self._detokenizers[request_id] = Detokenizer(self.tokenizer, params)
        return request

    def _encode_bad_words(self, params: SamplingParams) -> tuple[tuple[int, ...], ...]:
        """Each bad word's tokens, at the start of a text and after a space."""
        forms = {form for word in params.bad_words or () for form in (word, f" {word.lstrip()}")}
        encoded = (self.tokenizer.encode(form, add_special_tokens=False) for form in sorted(forms))
        return tuple(tuple(tokens) for tokens in encoded if tokens)

    def abort(self, request_id: str) -> None:
        """End a request now; unknown and finished ones are left alone."""
        request = self._requests.get(request_id)
        if request is not None:
            request.finish_reason = "abort"
            self._finish(request)

    @property
    def has_unfinished_requests(self) -> bool:
        """Whether a step would do anything."""
        return bool(self._requests)

    def step(self) -> list[StepOutput]:
        """Run one step.

        Returns:
            One entry for each request that gained tokens.
        """
        times = StepTimes(num_steps=1)
        with _timed(times, "schedule"):
            step = self.scheduler.schedule()
            if self._requests and not step:
                raise IntegrityError("requests are waiting, yet the scheduler runs none of them")
            self._announce(step)
            batch = flat_batch(step, self.scheduler.kv, self.runner.device)
        with _timed(times, "run"):
            output = self.runner.run(batch, self.proposer.needs.layers if self.proposer else ())
        with _timed(times, "verify"):
            verdicts = self._verify(step, output)
        with _timed(times, "update"):
            sources, targets = moved_slots(step, verdicts, self.scheduler.kv)
            if sources:
                self.runner.move(sources, targets)
            gained = self.scheduler.update_from_output(step, verdicts)
            outputs = self._collect(step, verdicts, gained, output)
        with _timed(times, "propose"):
            if self.proposer is not None:
                rows = standing_rows(step, verdicts, self.scheduler.kv, batch, output, times.total)
                self.proposer.observe(rows)
                self._propose(self.proposer)
            for entry in step:
                if entry.request.finish_reason is not None:
                    self._finish(entry.request)
        self.times.add(times)
        if self.trace is not None:
            self.trace.write(trace_record(self.times.num_steps - 1, times, step, outputs))
        return outputs

    def _announce(self, step: Sequence[ScheduledRequest]) -> None:
        """Tell the proposer of requests that begin, or begin again after a preemption."""
        if self.proposer is not None:
            for entry in step:
                if entry.begins:
                    self.proposer.start(entry.request)

    def _verify(self, step: Sequence[ScheduledRequest], output: RunOutput) -> list[Verdict | None]:
        argmax: list[int] = output.logits.argmax(-1).tolist()
        verdicts: list[Verdict | None] = []
        for entry, rows in zip(step, row_ranges(step), strict=True):
            if not rows:
                verdicts.append(None)
                continue
            span = slice(rows.start, rows.stop)
            logits, likeliest = output.logits[span], argmax[span]
            coupled = self.rule.shares_noise
            target = TargetRows(entry.request, entry.draft, logits, likeliest, coupled)
            verdicts.append(self._verify_one(entry.request, entry.draft, target))
        return verdicts

    def _verify_one(self, request: Request, draft: Draft, target: TargetRows) -> Verdict:
        return self.rule.verify(target, draft, RoundDraws(request), request.params.greedy)

    def _collect(
        self,
        step: Sequence[ScheduledRequest],
        verdicts: Sequence[Verdict | None],
        gained: Sequence[list[int]],
        output: RunOutput,
    ) -> list[StepOutput]:
        """Count, detokenize and cut at stop strings what each request gained."""
        outputs: list[StepOutput] = []
        spans = row_ranges(step)
        for entry, verdict, tokens, rows in zip(step, verdicts, gained, spans, strict=True):
            if verdict is None:
                continue
            request = entry.request
            detokenizer = self._detokenizers.get(request.request_id)
            text = detokenizer.add(request, tokens) if detokenizer else ""
            draft, path = entry.draft, verdict.path
            ends = [0, *(node + 1 for node in path)]  # the row that each new token came from
            rejected = bool(draft.children[ends[-1]])
            for counters in (self.counters, request.counters):
                counters.record(len(draft), len(path), len(tokens), max(draft.depths), rejected)
            count = request.params.logprobs
            logprobs = None
            if count is not None:
                from_rows = [rows[row] for row in ends]
                logprobs = _logprobs(output.logits, from_rows, tokens, count)
            outputs.append(StepOutput(request, tokens, draft, path, text, logprobs))
        return outputs

    def _propose(self, proposer: Proposer) -> None:
        """Ask for the next step's drafts of the requests that decode."""
        decoding = [r for r in self.scheduler.running if r.decoding and r.finish_reason is None]
        if not decoding or proposer.rests(decoding):
            return
        lengths = self.controller.draft_lengths(decoding)
        speculative = self.config.speculative_config
        draft_limit = speculative.max_model_len if speculative is not None else None
        wanted: list[Request] = []
        budgets: list[int] = []
        for request, length in zip(decoding, lengths, strict=True):
            room = self.max_model_len - request.num_tokens - 1
            if draft_limit is not None:
                room = min(room, draft_limit - request.num_tokens)
            if request.params.max_tokens is not None:
                room = min(room, request.params.max_tokens - request.num_output_tokens - 1)
            if min(length, room) > 0:
                wanted.append(request)
                budgets.append(min(length, room))
        if not wanted:
            return
        drafts = proposer.propose(wanted, budgets, [self._lookahead(r) for r in wanted], self.noise)
        for request, budget, draft in zip(wanted, budgets, drafts, strict=True):
            request.draft = draft.trimmed(budget)

    def _lookahead(self, request: Request) -> list[int]:
        """Slots behind the newest token that the drafter may write."""
        start = request.num_computed_tokens
        count = self.scheduler.num_lookahead_tokens
        room = len(request.block_table) * self.config.block_size
        return self.scheduler.kv.slots(request, start, min(start + count, room))

    def _finish(self, request: Request) -> None:
        self.scheduler.finish(request)
        del self._requests[request.request_id]
        self._detokenizers.pop(request.request_id, None)
        if self.proposer is not None:
            self.proposer.finish(request.request_id)
        if not self._requests:
            self.scheduler.check_integrity()


@contextmanager
def _timed(times: StepTimes, verb: str) -> Iterator[None]:
    start = perf_counter()
    yield
    setattr(times, verb, perf_counter() - start)


def _logprobs(
    logits: torch.Tensor, rows: Sequence[int], tokens: Sequence[int], count: int
) -> list[dict[int, float]]:
    """Per token its log-probability under the unfiltered target, and the likeliest `count`."""
    result = []
    for row, token in zip(rows, tokens, strict=False):
        logprobs = torch.log_softmax(logits[row].float(), dim=-1)
        top = logprobs.topk(count)
        entry = {token: float(logprobs[token])}
        entry.update(zip(top.indices.tolist(), top.values.tolist(), strict=True))
        result.append(entry)
    return result
