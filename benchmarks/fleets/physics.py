"""A server that decodes step by step, from first principles: what a step takes, what stands in it.

A step reads the weights and the KV of its requests once (memory) and works on its rows
(arithmetic); the longer of the two is what it takes, beside what the host adds. Speculation adds
rows, the drafter's own time, and faults where they are planted. Requests come, read their prompt
in chunks, write, and end; where the KV pool runs short the youngest gives its blocks back and
reads all of its tokens again later.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from benchmarks.fleets.noise import Floats, Noise

Ints = NDArray[np.int64]

SHARP = 6.0  # of the bend between memory and arithmetic: 1/SHARP norm of the two
GRAPHS = (1, 2, 4, *range(8, 1025, 8))  # rows are padded up to one of these
STALL, STALLED = 0.002, 6.0  # of the steps, and how many times longer they take


@dataclass
class Fleet:
    """A server, its drafter and its traffic; times in seconds.

    Args:
        weights: of reading the weights once, and the host's part of a step in `host`.
        knee: rows from where on arithmetic takes longer than reading the weights.
        kv: of reading the KV of one token, as a share of `weights`.
        pool: KV tokens that fit without speculation; `pool_left` is the share left with it.
        budget: rows of a step at most; a prompt is read in chunks of what decoding leaves.
        jitter: spread of a step's time; `drift` that of a window's.
        k: draft length.
        rates: [k] chance that a position stands if those before it do.
        spread: of the requests' own log-odds around `rates`.
        share: of the steps that have a draft; `stay` is the chance to have one again after one.
        draft, draft_token: of drafting at all and of each position, in plain steps.
        tax: of a server that can speculate, on every step, in plain steps.
        slow, slow_token: what a slow path adds to a step with drafts, in plain steps: at all, and
            for each position.
        streams: requests that clients keep under way.
        prompt, output: median tokens of a prompt and of a text.
        swing: spread of the number of clients from one quarter of a minute to the next.
    """

    weights: float = 0.02
    host: float = 0.002
    knee: float = 256.0
    kv: float = 2e-6
    pool: float = 4e5
    pool_left: float = 1.0
    budget: int = 2048
    jitter: float = 0.03
    drift: float = 0.02
    k: int = 3
    rates: list[float] = field(default_factory=lambda: [0.75, 0.8, 0.8])
    spread: float = 0.4
    share: float = 1.0
    stay: float = 0.8
    draft: float = 0.02
    draft_token: float = 0.03
    tax: float = 0.0
    slow: float = 0.0
    slow_token: float = 0.0
    streams: int = 4
    prompt: int = 300
    output: int = 250
    swing: float = 0.1

    @property
    def plain(self) -> float:
        """Seconds of a step of one row and no context."""
        return self.host + self.weights

    def step_time(self, rows: int, context: float) -> float:
        """Return the seconds of a run without noise, from its rows and its tokens of context."""
        padded = next((size for size in GRAPHS if size >= rows), rows)
        memory = self.weights * (1 + self.kv * context)
        arithmetic = self.weights * padded / self.knee
        longest = max(memory, arithmetic)
        bend = (memory / longest) ** SHARP + (arithmetic / longest) ** SHARP
        return self.host + longest * math.exp(math.log(bend) / SHARP)


@dataclass
class Step:
    """What one step did.

    Args:
        end: seconds since the start; seconds, draft_seconds: of the step, and of drafting in it.
        running, waiting, kv: requests and tokens held once it is over.
        prompt_rows, prefills: rows of prompts, and requests whose prompt ended (their first token).
        prompts: tokens of the prompts that ended; what is read again after a preemption is not.
        decoding: requests that decoded; tokens: written, first tokens included.
        rounds, drafted, accepted: drafts, their tokens, and what stood of them.
        tried, stood: [k] drafts that reached a position, and that stood there.
        gaps, outputs: seconds between outputs of a request, summed, and how many.
        preempted: requests that gave their blocks back.
        parts: for each request its id, tokens computed before, rows, draft, accepted, tokens.
    """

    end: float
    seconds: float
    draft_seconds: float
    running: int
    waiting: int
    kv: int
    prompt_rows: int
    prefills: int
    prompts: int
    decoding: int
    tokens: int
    rounds: int
    drafted: int
    accepted: int
    tried: Ints
    stood: Ints
    gaps: float
    outputs: int
    preempted: int
    parts: list[tuple[int, int, int, int, int, int]]


@dataclass
class _Request:
    number: int
    left: int  # tokens to write
    unread: int  # tokens whose KV is not computed
    rates: Floats
    held: int = 0  # tokens with KV
    drafts: bool = False
    last: float = -1.0  # when its latest token came; before the first one, below 0
    ended: bool = False


class Server:
    """Runs a fleet's traffic; every step with the fleet's speculation, or all without it."""

    def __init__(self, fleet: Fleet, speculates: bool, noise: Noise) -> None:
        self.fleet, self.noise = fleet, noise
        self.k = fleet.k if speculates else 0
        self.pool = fleet.pool * (fleet.pool_left if speculates else 1.0)
        self.state = math.exp(noise.normal(0.01))  # the machine's on that day
        self.clients = fleet.streams
        self.now, self.turn, self.made = 0.0, 0.0, 0
        self.running: list[_Request] = []
        self.waiting: list[_Request] = []
        self._slower = 1.0
        for _ in range(fleet.streams):  # as if it had run for a while
            request = self._arrives()
            done = int(noise.uniform() * request.left)
            request.left -= done
            request.unread += done
        self.settle()

    def settle(self) -> None:
        """Read the prompts of those that are there: nothing of it is told."""
        for request in list(self.waiting):
            if sum(r.held for r in self.running) + request.unread + request.left > self.pool:
                break
            self.waiting.remove(request)
            request.held, request.unread, request.last = request.unread, 0, 0.0
            self.running.append(request)

    def _arrives(self) -> _Request:
        noise, fleet = self.noise, self.fleet
        shift = noise.normal(fleet.spread)
        rates = [1 / (1 + math.exp(-math.log(a / (1 - a)) - shift)) for a in fleet.rates]
        prompt = int(fleet.prompt * math.exp(noise.normal(0.6))) + 8
        output = int(fleet.output * math.exp(noise.normal(0.5))) + 8
        self.made += 1
        request = _Request(self.made, output, prompt, np.array(rates))
        request.drafts = noise.chance(fleet.share)
        self.waiting.append(request)
        return request

    def step(self) -> Step:
        """Run one step."""
        fleet = self.fleet
        self._clients()
        self._admit()
        decoding = [r for r in self.running if not r.unread]
        drafts = np.array([self._draft_length(r) for r in decoding], np.int64)
        budget = fleet.budget - len(decoding) - int(drafts.sum())
        chunks = self._chunks(budget)
        tried, stood, accepted = self._accepted(decoding, drafts)
        rounds = int((drafts > 0).sum())
        rows = len(decoding) + int(drafts.sum()) + sum(rows for _, rows in chunks)
        context = float(sum(r.held for r in self.running))
        seconds, drafting = self._seconds(rows, context, rounds > 0)
        self.now += seconds
        parts: list[tuple[int, int, int, int, int, int]] = []
        tokens, gaps = 0, 0.0
        for request, draft, right in zip(decoding, drafts, accepted, strict=True):
            wrote = min(int(right) + 1, request.left)
            rows_of = (request.number, request.held, 1 + int(draft), int(draft), int(right), wrote)
            parts.append(rows_of)
            gaps += self.now - request.last
            self._wrote(request, wrote)
            tokens += wrote
        prefills = prompts = 0
        for request, chunk in chunks:
            ends = chunk == request.unread
            first = ends and request.last < 0
            parts.append((request.number, request.held, chunk, -1, 0, int(first)))
            request.held += chunk
            request.unread -= chunk
            if first:
                prefills += 1
                prompts += request.held
                tokens += 1
                request.held -= 1
                self._wrote(request, 1)
        self.running = [r for r in self.running if not r.ended]
        preempted = self._preempt()
        kv = sum(r.held for r in self.running)
        return Step(
            self.now, seconds, drafting, len(self.running), len(self.waiting), kv,
            sum(rows for _, rows in chunks), prefills, prompts, len(decoding), tokens, rounds,
            int(drafts.sum()), int(accepted.sum()), tried, stood, gaps, len(decoding), preempted,
            parts,
        )  # fmt: skip

    def _clients(self) -> None:
        fleet = self.fleet
        if self.now >= self.turn:
            self.turn = self.now + 15.0
            self._slower = math.exp(self.noise.normal(fleet.drift))
            self.clients = max(1, round(fleet.streams * math.exp(self.noise.normal(fleet.swing))))
        while len(self.running) + len(self.waiting) < self.clients:
            self._arrives()

    def _admit(self) -> None:
        held = sum(r.held + r.unread for r in self.running)
        while self.waiting:
            request = self.waiting[0]
            if self.running and held + request.unread + self.k + 1 > 0.99 * self.pool:
                return
            held += request.unread
            self.running.append(self.waiting.pop(0))

    def _draft_length(self, request: _Request) -> int:
        if not self.k:
            return 0
        share, stay = self.fleet.share, self.fleet.stay
        if share < 1:  # a text repeats for a while, then it does not
            again = max(stay, share)
            begins = share * (1 - again) / (1 - share)
            request.drafts = self.noise.chance(again if request.drafts else begins)
        return min(self.k, request.left - 1) if request.drafts or share >= 1 else 0

    def _chunks(self, budget: int) -> list[tuple[_Request, int]]:
        found = []
        for request in self.running:
            if request.unread and budget > 0:
                rows = min(request.unread, budget)
                budget -= rows
                found.append((request, rows))
        return found

    def _accepted(self, decoding: list[_Request], drafts: Ints) -> tuple[Ints, Ints, Ints]:
        k = self.fleet.k
        if not self.k or not decoding:
            nothing = np.zeros(k, np.int64)
            return nothing, nothing, np.zeros(len(decoding), np.int64)
        drafted = np.arange(k) < drafts[:, None]
        rates = np.array([r.rates for r in decoding])
        stands = np.cumprod((self.noise.uniforms(len(decoding), k) < rates) & drafted, axis=1)
        return drafted.sum(0), stands.sum(0), stands.sum(1)

    def _seconds(self, rows: int, context: float, drafted: bool) -> tuple[float, float]:
        """Return the seconds of a step, and those of drafting in it."""
        fleet, noise = self.fleet, self.noise
        seconds, drafting = fleet.step_time(rows, context), 0.0
        if self.k:
            seconds += fleet.tax * fleet.plain
        if drafted:
            seconds += (fleet.slow + fleet.slow_token * self.k) * fleet.plain
            drafting = (fleet.draft + fleet.draft_token * self.k) * fleet.plain
        factor = self.state * self._slower * math.exp(noise.normal(fleet.jitter))
        if noise.chance(STALL):
            factor *= noise.uniform(1, STALLED)
        return (seconds + drafting) * factor, drafting * factor

    def _wrote(self, request: _Request, tokens: int) -> None:
        request.held += tokens
        request.left -= tokens
        request.last = self.now
        request.ended = request.left <= 0

    def _preempt(self) -> int:
        count = 0
        lookahead = self.k + 1
        while len(self.running) > 1:
            if sum(r.held + r.unread + lookahead for r in self.running) <= self.pool:
                break
            request = self.running.pop()
            request.unread += request.held
            request.held = 0
            self.waiting.insert(0, request)
            count += 1
        return count
