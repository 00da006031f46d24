"""Several methods at once: per request and step the one that promises most for its cost drafts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from fairdraft.config import SpeculativeConfig, require
from fairdraft.draft import EMPTY_DRAFT, Draft
from fairdraft.proposers.base import Needs, Proposer, Rows
from fairdraft.proposers.books import Book, Clock
from fairdraft.proposers.registry import build_proposer
from fairdraft.request import Request
from fairdraft.sampling.sampler import DraftNoise

DEFAULT_METHODS = ("suffix", "ngram")
WHOLE = (
    "rejection_sample_method",
    "synthetic_acceptance_rates",
    "synthetic_acceptance_length",
    "num_speculative_tokens_per_batch_size",
)
PATIENCE = 200  # choices that a free method waits before it is tried again; dear ones wait longer


@dataclass(frozen=True)
class _Pending:
    """A draft that waits for its verdict, and the request's counts before it.

    Args:
        request, book: whose, and by whom.
        asked: tokens asked of a drafter; None of a lookup, which was judged by what it found.
        steps, drafted, accepted: the request's counts.
    """

    request: Request
    book: Book
    asked: int | None
    steps: int
    drafted: int
    accepted: int


def build_methods(methods: object, k: int) -> dict[str, Proposer]:
    """Proposers by name; a method's second one is called "name#2".

    Args:
        methods: names, or mappings as for `speculative_config`.
        k: num_speculative_tokens of those that bring none, and the most any may bring.

    Raises:
        ConfigError: no methods, one that cannot be part of a hybrid, or bad keys of one.
    """
    require(
        isinstance(methods, Sequence) and not isinstance(methods, str) and len(methods) > 0,
        f"methods is {methods!r}, but must be a list of method names or of mappings such as "
        '["suffix", {"method": "draft_model", "num_draft_layers": 20}]',
    )
    proposers: dict[str, Proposer] = {}
    for entry in methods:  # type: ignore[attr-defined]
        config = _config_of(entry, k)
        proposer = build_proposer(config)
        assert proposer is not None
        same = sum(name.split("#")[0] == config.method for name in proposers)
        proposers[f"{config.method}#{same + 1}" if same else config.method] = proposer
    return proposers


def _config_of(entry: object, k: int) -> SpeculativeConfig:
    mapping = {"method": entry} if isinstance(entry, str) else entry
    require(isinstance(mapping, Mapping), f"an entry of methods is {entry!r}: name a method")
    assert isinstance(mapping, Mapping)
    config = SpeculativeConfig.of({"num_speculative_tokens": k, **mapping})
    assert config is not None
    require(
        config.method not in ("hybrid", "auto", "off"),
        f"{config.method!r} cannot be one of several methods: leave it out",
    )
    require(
        config.num_speculative_tokens <= k,
        f"num_speculative_tokens of {config.method!r} is {config.num_speculative_tokens}, "
        f"above the whole's {k}: raise the whole's",
    )
    for key in WHOLE:
        require(
            key not in mapping,
            f"{key} belongs beside methods, not inside: it holds for all drafts of an engine",
        )
    return config


def joint_needs(proposers: Iterable[Proposer]) -> Needs:
    """What any of them needs, together they need."""
    needs = [proposer.needs for proposer in proposers]
    return Needs(
        tuple(sorted({layer for one in needs for layer in one.layers})),
        max(one.num_lookahead_tokens for one in needs),
        any(one.next_token for one in needs),
    )


class HybridProposer(Proposer):
    """Chooses for each request the draft with the highest (1 + expected accepted) / seconds.

    Lookups (`Proposer.is_lookup`) all draft and the best is kept. A drafter is chosen by its record
    alone, before it drafts: to choose after seeing what was drawn would bias the text. Seconds are
    a request's share of a step, and for a drafter its share of the drafting, as measured here.

    Attributes:
        books: per method what was drafted, what came of it, and its cost.
        step_clock: seconds from one drafting to the next, a request's share.

    Args:
        num_speculative_tokens: longest draft.
        methods: names, or mappings as for `speculative_config`, each with its own keys and perhaps
            a smaller num_speculative_tokens; the first wins ties. None takes suffix and ngram.

    Raises:
        ConfigError: no methods, one that cannot be part of a hybrid, or bad keys of one.
    """

    def __init__(
        self,
        num_speculative_tokens: int,
        methods: Sequence[str | Mapping[str, Any]] | None = None,
    ) -> None:
        super().__init__(num_speculative_tokens)
        named = DEFAULT_METHODS if methods is None else methods
        self.proposers = build_methods(named, num_speculative_tokens)
        each = self.proposers.values()
        self.books = {name: Book() for name in self.proposers}
        self.drafts_trees = any(proposer.drafts_trees for proposer in each)
        self.is_lookup = all(proposer.is_lookup for proposer in each)
        self._pending: dict[str, _Pending] = {}
        self.step_clock = Clock()
        self._drafted_at: float | None = None
        self._num_drafted = 0

    def bind(self, target: Any) -> None:
        """Bind every method; what any of them needs, the hybrid needs."""
        for proposer in self.proposers.values():
            proposer.bind(target)
        self.needs = joint_needs(self.proposers.values())

    def start(self, request: Request) -> None:
        """A request begins, or begins again."""
        self._settle(request.request_id)
        for proposer in self.proposers.values():
            proposer.start(request)

    def observe(self, rows: Rows) -> None:
        """Every method sees every step, chosen or not."""
        if self._drafted_at is not None:
            self.step_clock.add((perf_counter() - self._drafted_at) / self._num_drafted)
            self._drafted_at = None
        for proposer in self.proposers.values():
            proposer.observe(rows)

    def finish(self, request_id: str) -> None:
        """Settle and forget."""
        self._settle(request_id)
        for name, proposer in self.proposers.items():
            proposer.finish(request_id)
            self.books[name].forget(request_id)

    def _settle(self, request_id: str) -> None:
        """Note what became of a request's last draft, as far as it was verified."""
        pending = self._pending.pop(request_id, None)
        if pending is None:
            return
        counters = pending.request.counters
        drafted = counters.num_draft_tokens - pending.drafted
        asked = drafted if pending.asked is None else pending.asked
        if asked and counters.num_steps > pending.steps:
            accepted = counters.num_accepted_tokens - pending.accepted
            pending.book.record(request_id, asked, drafted, accepted)

    def propose(
        self,
        requests: Sequence[Request],
        budgets: Sequence[int],
        slots: Sequence[Sequence[int]],
        noise: DraftNoise,
    ) -> list[Draft]:
        """Look up, choose, and let the drafters that were chosen draft."""
        for request in requests:
            self._settle(request.request_id)
        arguments = list(zip(requests, budgets, slots, strict=True))
        found = {
            name: self._ask(name, arguments, noise)
            for name, proposer in self.proposers.items()
            if proposer.is_lookup
        }
        chosen = [
            self._choose(request, budget, {name: drafts[i] for name, drafts in found.items()})
            for i, (request, budget, _) in enumerate(arguments)
        ]
        drafts = [found[name][i] if name in found else EMPTY_DRAFT for i, name in enumerate(chosen)]
        for name in self.proposers.keys() - found.keys():
            places = [i for i, choice in enumerate(chosen) if choice == name]
            if places:
                asked = self._ask(name, [arguments[i] for i in places], noise)
                for i, draft in zip(places, asked, strict=True):
                    drafts[i] = draft
        for request, budget, name in zip(requests, budgets, chosen, strict=True):
            longest = min(budget, self.proposers[name].num_speculative_tokens)
            counters = request.counters
            self._pending[request.request_id] = _Pending(
                request,
                self.books[name],
                None if name in found else longest,
                counters.num_steps,
                counters.num_draft_tokens,
                counters.num_accepted_tokens,
            )
        self._drafted_at, self._num_drafted = perf_counter(), len(requests)
        return drafts

    def _ask(
        self, name: str, arguments: Sequence[tuple[Request, int, Sequence[int]]], noise: DraftNoise
    ) -> list[Draft]:
        """A method's drafts for some requests, timed."""
        proposer = self.proposers[name]
        longest = proposer.num_speculative_tokens
        start = perf_counter()
        drafts = proposer.propose(
            [request for request, _, _ in arguments],
            [min(budget, longest) for _, budget, _ in arguments],
            [slots for _, _, slots in arguments],
            noise,
        )
        self.books[name].clock.add((perf_counter() - start) / len(arguments))
        return drafts

    def _choose(self, request: Request, budget: int, found: Mapping[str, Draft]) -> str:
        """The method with the best rate; one that was left out for long gets a turn."""
        share = self.step_clock.seconds
        best, best_rate = "", -1.0
        overdue = ""
        for name, proposer in self.proposers.items():
            book = self.books[name]
            if name in found:
                length, cost = len(found[name]), 0.0  # it has drafted; only the verdict is to come
            else:
                length, cost = min(budget, proposer.num_speculative_tokens), book.clock.seconds
            rate = 1 + book.expected(request.request_id, length)
            if share:
                rate /= share + cost
                if length and book.idle > PATIENCE * (1 + cost / share):
                    overdue = name
            if rate > best_rate:
                best, best_rate = name, rate
        chosen = overdue or best
        for name, book in self.books.items():
            book.idle = 0 if name == chosen else book.idle + 1
        return chosen
