"""A server simulated: our scheduler's rules, a profile's step times, drawn acceptance.

A step holds the running requests first, oldest first, each with at least one token, then waiting
ones while its rows, its seats and the KV last; prompts are read in chunks of what the rows leave;
the youngest is preempted when the KV runs short (`engine/scheduler.py`). Prefix hits are not
assumed. Steps in which nothing but decoding happens are worked out together, up to the next
arrival or end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fairdraft.economics.costs.serving_costs import ServingCosts
from fairdraft.economics.planning.rounds import RoundLaw
from fairdraft.economics.planning.served import Served
from fairdraft.errors import ConfigError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
DRAWN = 4096  # steps of a request with draws of their own; a longer answer begins them again


@dataclass(frozen=True)
class Limits:
    """A server's limits; names and defaults are the engine's.

    Args:
        max_num_seqs: requests that run at once.
        max_num_batched_tokens: rows of a step, at least `max_num_seqs`.
        kv_tokens: that the KV pool holds; None: as many as are asked for.
        block_size: tokens of a KV block.
        num_lookahead_tokens: slots kept for the drafter's own KV.

    Raises:
        ConfigError: a limit below 1, or too few rows.
    """

    max_num_seqs: int = 8
    max_num_batched_tokens: int = 512
    kv_tokens: int | None = None
    block_size: int = 16
    num_lookahead_tokens: int = 0

    def __post_init__(self) -> None:
        if self.max_num_seqs < 1:
            raise ConfigError(f"max_num_seqs is {self.max_num_seqs}: one request must run at least")
        if self.max_num_batched_tokens < self.max_num_seqs:
            raise ConfigError(
                f"max_num_batched_tokens is {self.max_num_batched_tokens}, fewer than the "
                f"{self.max_num_seqs} requests at once: each needs a row a step"
            )

    @property
    def blocks(self) -> float:
        """Blocks of the pool; infinite where there is no limit."""
        return float("inf") if self.kv_tokens is None else self.kv_tokens // self.block_size

    def blocks_for(self, num_tokens: int) -> int:
        """Return the blocks that so many tokens fill."""
        return -(-(num_tokens + self.num_lookahead_tokens) // self.block_size)


class _Request:
    """A request on its way: what it will draft and keep is drawn when it arrives."""

    def __init__(
        self, prompt: int, output: int, arrival: float, drafted: IntArray, accepted: IntArray
    ) -> None:
        self.prompt, self.output, self.arrival = prompt, output, arrival
        given = accepted + 1
        ends = given.cumsum()
        steps = int(np.searchsorted(ends, output - 1)) + 1 if output > 1 else 0
        left = output - 1 - ends[:steps] + given[:steps]  # before each step
        self.given = np.minimum(given[:steps], left)
        self.drafted = np.minimum(drafted[:steps], left - 1)
        self.context = prompt + 1 + (output - 1 - left)  # tokens before each step
        self.place = 0  # of the next decoding step
        self.computed, self.known = 0, prompt
        self.blocks = 0
        self.first = 0.0

    @property
    def decoding(self) -> bool:
        """Whether all its tokens but the newest are computed."""
        return self.known > self.prompt and self.computed == self.known - 1

    @property
    def draft(self) -> int:
        """Draft tokens for its next step."""
        return int(self.drafted[self.place]) if self.decoding else 0


class _Server:
    """The state of a simulation; see `simulate`."""

    def __init__(
        self,
        requests: Sequence[_Request],
        concurrency: int | None,
        costs: ServingCosts,
        limits: Limits,
        drain: bool,
    ) -> None:
        self.costs, self.limits, self.drain = costs, limits, drain
        self.coming = deque(requests)
        self.concurrency = concurrency
        self.waiting: deque[_Request] = deque()
        self.running: list[_Request] = []
        self.free = limits.blocks
        self.now = 0.0
        self.tokens = self.steps = self.preemptions = 0
        self.decoded = 0  # steps of requests
        self.ttft: list[float] = []
        self.inter_token: list[float] = []
        self.latency: list[float] = []
        self.gaps: list[FloatArray] = []
        self.gap_counts: list[int] = []
        self.ended = False
        for _ in range(min(concurrency or 0, len(self.coming))):
            self.waiting.append(self.coming.popleft())

    def run(self) -> Served:
        while not self.ended and (self.running or self.waiting or self.coming):
            if self.concurrency is None:
                if not (self.running or self.waiting):
                    self.now = max(self.now, self.coming[0].arrival)
                while self.coming and self.coming[0].arrival <= self.now:
                    self.waiting.append(self.coming.popleft())
            if not self._decode():
                self._step()
        gaps = np.concatenate(self.gaps) if self.gaps else np.zeros(0)
        counts = np.repeat(self.gap_counts, [len(each) for each in self.gaps])
        return Served(
            self.now,
            self.tokens,
            self.steps,
            np.array(self.ttft),
            np.array(self.inter_token),
            np.repeat(gaps, counts.astype(np.int64)),
            np.array(self.latency),
            self.decoded / max(self.steps, 1),
            self.preemptions,
        )

    def _decode(self) -> bool:
        """Take the steps of pure decoding up to the next event; return whether there were any."""
        running, limits = self.running, self.limits
        count = len(running)
        if not count or not all(request.decoding for request in running):
            return False
        seats = count < limits.max_num_seqs
        if (self.waiting and seats) or count * (1 + self.costs.k) > limits.max_num_batched_tokens:
            return False
        steps = min(len(request.given) - request.place for request in running)
        if limits.kv_tokens is not None:
            steps = self._steps_that_fit(steps)
            if not steps:
                return False
        drafted = np.zeros(steps, np.int64)
        context = np.zeros(steps)
        for request in running:
            drafted += request.drafted[request.place : request.place + steps]
            context += request.context[request.place : request.place + steps]
        seconds = self.costs.decode(count, drafted, context / count)
        ends = self.now + seconds.cumsum()
        if seats and self.concurrency is None and self.coming:
            steps = min(int(np.searchsorted(ends, self.coming[0].arrival)) + 1, steps)
        self.now = float(ends[steps - 1])
        self.steps += steps
        self.gaps.append(seconds[:steps])
        self.gap_counts.append(count)
        for request in list(running):
            self._advance(request, steps)
        return True

    def _steps_that_fit(self, steps: int) -> int:
        """Return how many steps the KV has room for, whatever is drafted; 0: it may run short."""
        limits, longest = self.limits, 1 + self.costs.k
        for some in (steps, min(steps, limits.block_size)):
            needed = sum(
                limits.blocks_for(request.known + some * longest) - request.blocks
                for request in self.running
            )
            if needed <= self.free:
                return some
        return 0

    def _advance(self, request: _Request, steps: int) -> None:
        """Give a request the tokens of so many decoding steps."""
        end = request.place + steps
        gained = int(request.given[request.place : end].sum())
        self.decoded += steps
        self.tokens += gained
        request.place = end
        request.known += gained
        request.computed = request.known - 1
        if self.limits.kv_tokens is not None:
            self._hold(request, request.known)
        if end == len(request.given):
            self._finish(request)

    def _finish(self, request: _Request) -> None:
        self.running.remove(request)
        self.free += request.blocks
        self.latency.append(self.now - request.arrival)
        if request.output > 1:
            self.inter_token.append((self.now - request.first) / (request.output - 1))
        if self.concurrency is not None:
            if self.coming:
                follower = self.coming.popleft()
                follower.arrival = self.now
                self.waiting.append(follower)
            elif not self.drain:
                self.ended = True

    def _step(self) -> None:
        """Take one step as the scheduler would compose it."""
        entries = self._schedule()
        chunks = [(rows, request.computed) for request, rows in entries if not request.decoding]
        decoding = [(request, rows) for request, rows in entries if request.decoding]
        drafted = sum(rows - 1 for _, rows in decoding)
        count = len(decoding)
        context = sum(request.known for request, _ in decoding) / max(count, 1)
        if chunks:
            seconds = self.costs.mixed(chunks, count, drafted, context)
        else:
            seconds = float(self.costs.decode(count, np.array([drafted]), np.array([context]))[0])
        self.now += seconds
        self.steps += 1
        if count:
            self.gaps.append(np.array([seconds]))
            self.gap_counts.append(count)
        for request, rows in entries:
            if request.decoding:
                self._verify(request, rows - 1)
            else:
                self._read(request, rows)

    def _schedule(self) -> list[tuple[_Request, int]]:
        """Return who runs and how many rows each, their KV taken."""
        limits, running = self.limits, self.running
        budget = limits.max_num_batched_tokens
        entries: list[tuple[_Request, int]] = []
        preempted = False
        i = 0
        while i < len(running):
            granted = self._grant(running[i], budget - (len(running) - i - 1))
            if not granted:
                preempted = True
                self._preempt(running[-1])
                continue
            entries.append((running[i], granted))
            budget -= granted
            i += 1
        while self.waiting and len(running) < limits.max_num_seqs and budget and not preempted:
            granted = self._grant(self.waiting[0], budget)
            if not granted:
                break
            running.append(self.waiting.popleft())
            entries.append((running[-1], granted))
            budget -= granted
        return entries

    def _grant(self, request: _Request, budget: int) -> int:
        """Return the rows that may run and now have room; 0 if not even one has."""
        needed = min(request.known - request.computed, budget)
        wanted = min(request.known - request.computed + request.draft, budget)
        if self.limits.kv_tokens is None:
            return wanted
        limits = self.limits
        fits = int(request.blocks + self.free) * limits.block_size - limits.num_lookahead_tokens
        rows = min(wanted, fits - request.computed)
        if rows < needed:
            return 0
        self._hold(request, request.computed + rows)
        return rows

    def _hold(self, request: _Request, num_tokens: int) -> None:
        missing = max(self.limits.blocks_for(num_tokens) - request.blocks, 0)
        request.blocks += missing
        self.free -= missing

    def _preempt(self, request: _Request) -> None:
        self.running.remove(request)
        self.free += request.blocks
        request.blocks = request.computed = 0
        self.preemptions += 1
        self.waiting.appendleft(request)

    def _verify(self, request: _Request, drafted: int) -> None:
        """Give a request one decoding step's tokens; a draft that was cut gives fewer."""
        lost = int(request.given[request.place]) - 1 - drafted
        if lost > 0:  # they come in a step more, without a draft
            place = request.place
            request.given = np.insert(request.given, place + 1, lost)
            request.given[place] -= lost
            request.drafted = np.insert(request.drafted, place + 1, lost - 1)
            context = request.context[place] + request.given[place]
            request.context = np.insert(request.context, place + 1, context)
        self._advance(request, 1)

    def _read(self, request: _Request, rows: int) -> None:
        """Count rows of a prompt as read; the last of them give a token."""
        request.computed += rows
        if request.computed < request.known:
            return
        if request.known > request.prompt:  # read again after a preemption
            self._verify(request, 0)
            return
        self.tokens += 1
        request.known += 1
        request.first = self.now
        self.ttft.append(self.now - request.arrival)
        if request.output == 1:
            self._finish(request)


def simulate(
    prompts: IntArray,
    outputs: IntArray,
    costs: ServingCosts,
    laws: Sequence[RoundLaw],
    limits: Limits,
    *,
    arrivals: FloatArray | None = None,
    concurrency: int | None = None,
    drain: bool = True,
    seed: int = 0,
) -> Served:
    """Serve requests, and tell what came of it.

    Args:
        prompts, outputs: [n] tokens of each request.
        costs: of steps.
        laws: of decoding steps by kind of text; requests are of one kind each, by their shares.
        limits: of the server.
        arrivals: [n] seconds, rising.
        concurrency: in place of arrivals: clients, each of which sends its next request when its
            last has ended.
        drain: whether the last requests are finished too; else it ends when a client has nothing
            more to send.
        seed: of acceptance; one seed draws the same luck for every method and draft length.

    Raises:
        ConfigError: a request is larger than the KV pool.
    """
    if (arrivals is None) == (concurrency is None):
        raise ConfigError("give either arrivals or a concurrency")
    longest = int((prompts + outputs).max())
    if limits.blocks_for(longest) > limits.blocks:
        raise ConfigError(
            f"a request reaches {longest} tokens, {limits.blocks_for(longest)} blocks of "
            f"{limits.block_size}, but a KV pool of {limits.kv_tokens} tokens has "
            f"{limits.blocks:.0f}: raise it, or plan for shorter texts"
        )
    rng = np.random.default_rng([seed, 2])
    kinds = _kinds([law.share for law in laws], len(prompts), rng)
    when = np.zeros(len(prompts)) if arrivals is None else arrivals
    requests = []
    for prompt, output, kind, moment in zip(prompts, outputs, kinds, when, strict=True):
        uniform = rng.random(min(int(output), DRAWN))
        drafted, accepted = laws[kind].draw(uniform)
        if output > DRAWN:
            again = -(-int(output) // DRAWN)
            drafted, accepted = np.tile(drafted, again), np.tile(accepted, again)
        requests.append(_Request(int(prompt), int(output), float(moment), drafted, accepted))
    return _Server(requests, concurrency, costs, limits, drain).run()


def poisson_arrivals(rate: float, count: int, seed: int = 0) -> FloatArray:
    """Return moments at which so many requests arrive, independently: [count].

    Args:
        rate: requests a second.
        count: of them.
        seed: one seed gives the same moments at every rate, but for its scale.
    """
    gaps = np.random.default_rng([seed, 3]).exponential(1, count)
    return np.asarray((gaps.cumsum() - gaps[0]) / rate)


def _kinds(shares: Sequence[float], count: int, rng: np.random.Generator) -> IntArray:
    """Return the kind of each request, each as often as its share says: [count]."""
    ends = np.cumsum(shares)
    even = (rng.permutation(count) + 0.5) / count * ends[-1]
    return np.asarray(np.minimum(np.searchsorted(ends, even, "right"), len(shares) - 1))
