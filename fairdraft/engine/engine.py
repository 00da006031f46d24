"""One step of the machine: schedule → run → verify → update → propose."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import torch

from fairdraft.config import EngineConfig, SamplingParams
from fairdraft.draft import Verdict
from fairdraft.engine.controller import Controller, FixedController
from fairdraft.engine.detokenizer import Detokenizer
from fairdraft.engine.scheduler import ScheduledRequest, Scheduler
from fairdraft.errors import ConfigError, IntegrityError, RequestError
from fairdraft.kv import KVManager
from fairdraft.models import FlatBatch, Runner, RunOutput
from fairdraft.proposers import Proposer, Rows
from fairdraft.request import Request
from fairdraft.sampling.noise import Purpose, derive_seed, uniform
from fairdraft.sampling.sampler import TargetRows, draw
from fairdraft.telemetry import SpecCounters, StepTimes, StepTrace
from fairdraft.verification import match, standard

DEFAULT_KV_BYTES = 4 * 2**30


@dataclass(frozen=True)
class StepOutput:
    """What one step gave one request.

    Args:
        request: with its counters, text so far and finish reason.
        token_ids: tokens it gained.
        draft_token_ids: what was verified.
        num_accepted: how many of them stood.
        text: text it gained; part of it is held back while a stop string may be under way.
        logprobs: per token its log-probability and the likeliest ones', if asked for.
    """

    request: Request
    token_ids: list[int]
    draft_token_ids: tuple[int, ...]
    num_accepted: int
    text: str
    logprobs: list[dict[int, float]] | None


class _KeyedDraws:
    """The decisions of one round, from the request's keyed noise."""

    def __init__(self, request: Request) -> None:
        self.seed = request.seed
        self.start = request.num_tokens

    def accept(self, index: int, probability: Any) -> bool:
        return uniform(self.seed, Purpose.ACCEPT, self.start, index) < float(probability)

    def token(self, index: int, law: Any) -> int:
        return draw(law, uniform(self.seed, Purpose.RECOVER, self.start, index))


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
        if controller is None:
            controller = FixedController(proposer.num_speculative_tokens if proposer else 0)
        self.controller = controller
        self.trace = trace
        self.max_model_len = self._check_max_model_len()
        if proposer is not None:
            proposer.bind(runner)
        num_blocks = self._num_blocks()
        runner.allocate(num_blocks * config.block_size)
        self.scheduler = Scheduler(
            KVManager(num_blocks, config.block_size, config.enable_prefix_caching),
            config.max_num_seqs,
            config.max_num_batched_tokens,
            self.max_model_len,
            proposer.needs.num_lookahead_tokens if proposer else 0,
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
    ) -> Request:
        """Queue a prompt.

        Args:
            prompt_token_ids: at least one token, each below the vocabulary's size.
            params: sampling parameters; `n` is the caller's concern.
            request_id: unique among live requests; None makes one.
            seed: overrides `params.seed`; None for both derives one from the engine's seed.

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
            batch = self._flat_batch(step)
        with _timed(times, "run"):
            output = self.runner.run(batch, self.proposer.needs.layers if self.proposer else ())
        with _timed(times, "verify"):
            verdicts = self._verify(step, output)
        with _timed(times, "update"):
            gained = self.scheduler.update_from_output(step, verdicts)
            outputs = self._collect(step, verdicts, gained, output)
        with _timed(times, "propose"):
            if self.proposer is not None:
                self.proposer.observe(self._rows(step, verdicts, batch, output))
                self._propose(self.proposer)
            for entry in step:
                if entry.request.finish_reason is not None:
                    self._finish(entry.request)
        self.times.add(times)
        if self.trace is not None:
            self._write_trace(self.trace, times, step, outputs)
        return outputs

    def _announce(self, step: Sequence[ScheduledRequest]) -> None:
        """Tell the proposer of requests that begin, or begin again after a preemption."""
        if self.proposer is not None:
            for entry in step:
                if entry.begins:
                    self.proposer.start(entry.request)

    def _flat_batch(self, step: Sequence[ScheduledRequest]) -> FlatBatch:
        kv, device = self.scheduler.kv, self.runner.device
        token_ids: list[int] = []
        positions: list[int] = []
        slots: list[int] = []
        logit_rows: list[int] = []
        cu_rows = [0]
        for entry in step:
            end = entry.start + entry.num_new_tokens
            token_ids.extend(entry.token_ids)
            positions.extend(range(entry.start, end))
            slots.extend(kv.slots(entry.request, entry.start, end))
            cu_rows.append(len(token_ids))
            logit_rows.extend(range(cu_rows[-1] - entry.num_logit_rows, cu_rows[-1]))
        return FlatBatch(
            torch.tensor(token_ids, dtype=torch.int64, device=device),
            torch.tensor(positions, dtype=torch.int64, device=device),
            torch.tensor(slots, dtype=torch.int64, device=device),
            cu_rows,
            [entry.start for entry in step],
            [entry.request.block_table for entry in step],
            kv.block_size,
            torch.tensor(logit_rows, dtype=torch.int64, device=device),
        )

    def _verify(self, step: Sequence[ScheduledRequest], output: RunOutput) -> list[Verdict | None]:
        argmax: list[int] = output.logits.argmax(-1).tolist()
        verdicts: list[Verdict | None] = []
        for entry, rows in zip(step, _row_ranges(step), strict=True):
            if not rows:
                verdicts.append(None)
                continue
            draft, request = entry.draft, entry.request
            span = slice(rows.start, rows.stop)
            target = TargetRows(request, draft.token_ids, output.logits[span], argmax[span])
            if draft.probs is None or request.params.greedy:
                verdicts.append(match(draft.token_ids, target.token))
            else:
                verdicts.append(standard(target, draft, _KeyedDraws(request)))
        return verdicts

    def _collect(
        self,
        step: Sequence[ScheduledRequest],
        verdicts: Sequence[Verdict | None],
        gained: Sequence[list[int]],
        output: RunOutput,
    ) -> list[StepOutput]:
        """Count, detokenize and cut at stop strings what each request gained."""
        outputs: list[StepOutput] = []
        spans = _row_ranges(step)
        for entry, verdict, tokens, rows in zip(step, verdicts, gained, spans, strict=True):
            if verdict is None:
                continue
            request = entry.request
            detokenizer = self._detokenizers.get(request.request_id)
            text = detokenizer.add(request, tokens) if detokenizer else ""
            for counters in (self.counters, request.counters):
                counters.record(len(entry.draft), verdict.num_accepted, len(tokens))
            count = request.params.logprobs
            outputs.append(
                StepOutput(
                    request,
                    tokens,
                    entry.draft.token_ids,
                    verdict.num_accepted,
                    text,
                    None if count is None else _logprobs(output.logits, rows, tokens, count),
                )
            )
        return outputs

    def _rows(
        self,
        step: Sequence[ScheduledRequest],
        verdicts: Sequence[Verdict | None],
        batch: FlatBatch,
        output: RunOutput,
    ) -> Rows:
        """The rows that stand: everything that ran, without the rejected drafts."""
        kv = self.scheduler.kv
        kept: list[int] = []
        cu_rows = [0]
        token_ids: list[int] = []
        next_token_ids: list[int] = []
        positions: list[int] = []
        slots: list[int] = []
        for i, (entry, verdict) in enumerate(zip(step, verdicts, strict=True)):
            rejected = len(entry.draft) - verdict.num_accepted if verdict else 0
            count = entry.num_new_tokens - rejected
            end = entry.start + count
            kept.extend(range(batch.cu_rows[i], batch.cu_rows[i] + count))
            cu_rows.append(len(kept))
            token_ids.extend(entry.token_ids[:count])
            following = entry.token_ids[1:count]
            next_token_ids.extend(following)
            if count:
                known = entry.request.token_ids
                newest = verdict.token if verdict else known[end]
                next_token_ids.append(newest)
            positions.extend(range(entry.start, end))
            slots.extend(kv.slots(entry.request, entry.start, end))
        hidden = {layer: state[kept] for layer, state in output.hidden.items()}
        request_ids = [entry.request.request_id for entry in step]
        return Rows(request_ids, cu_rows, token_ids, next_token_ids, positions, slots, hidden)

    def _propose(self, proposer: Proposer) -> None:
        """Ask for the next step's drafts of the requests that decode."""
        decoding = [r for r in self.scheduler.running if r.decoding and r.finish_reason is None]
        lengths = self.controller.draft_lengths(decoding)
        wanted: list[Request] = []
        budgets: list[int] = []
        for request, length in zip(decoding, lengths, strict=True):
            room = self.max_model_len - request.num_tokens - 1
            if request.params.max_tokens is not None:
                room = min(room, request.params.max_tokens - request.num_output_tokens - 1)
            if min(length, room) > 0:
                wanted.append(request)
                budgets.append(min(length, room))
        if not wanted:
            return
        drafts = proposer.propose(wanted, budgets, [self._lookahead(r) for r in wanted], _noise)
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

    def _write_trace(
        self,
        trace: StepTrace,
        times: StepTimes,
        step: Sequence[ScheduledRequest],
        outputs: Sequence[StepOutput],
    ) -> None:
        gained = {output.request.request_id: output for output in outputs}
        requests = []
        for entry in step:
            record: dict[str, Any] = {
                "request_id": entry.request.request_id,
                "num_computed_tokens": entry.start,
                "num_new_tokens": entry.num_new_tokens,
            }
            output = gained.get(entry.request.request_id)
            if output is not None:
                record["draft_token_ids"] = list(output.draft_token_ids)
                record["num_accepted"] = output.num_accepted
                record["token_ids"] = output.token_ids
            requests.append(record)
        trace.write({"step": self.times.num_steps - 1, "times": vars(times), "requests": requests})


def _noise(request: Request, purpose: Purpose, *where: int) -> float:
    return uniform(request.seed, purpose, *where)


@contextmanager
def _timed(times: StepTimes, verb: str) -> Iterator[None]:
    start = perf_counter()
    yield
    setattr(times, verb, perf_counter() - start)


def _row_ranges(step: Sequence[ScheduledRequest]) -> list[range]:
    """Each entry's rows among the step's logits."""
    ends = list(itertools.accumulate(entry.num_logit_rows for entry in step))
    return [range(end - e.num_logit_rows, end) for e, end in zip(step, ends, strict=True)]


def _logprobs(
    logits: torch.Tensor, rows: range, tokens: Sequence[int], count: int
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
