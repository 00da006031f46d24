"""One suite that every proposer must pass, ours or yours: `check_proposer(MyProposer)`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fairdraft.config import EngineConfig, SamplingParams
from fairdraft.draft import Draft
from fairdraft.engine.engine import Engine
from fairdraft.models import Runner
from fairdraft.proposers import Proposer
from fairdraft.request import Request
from fairdraft.sampling.sampler import DraftNoise
from fairdraft.stats import g_test, holm, log_e_value
from fairdraft.testing.laws import Text, text_law
from fairdraft.testing.toy import ToyRunner
from fairdraft.verification import RULES

# Room for everything; a pool that preempts, with small chunks; one request at a time.
STRESSES: dict[str, dict[str, Any]] = {
    "roomy": {},
    "small pool, small chunks": {"num_gpu_blocks_override": 24, "max_num_batched_tokens": 16},
    "one seat": {"max_num_seqs": 1},
}

TOKENS = 12
PARAMS: dict[str, SamplingParams] = {
    "greedy": SamplingParams(temperature=0, max_tokens=TOKENS, ignore_eos=True),
    "greedy, penalties": SamplingParams(
        temperature=0,
        frequency_penalty=0.7,
        repetition_penalty=1.2,
        max_tokens=TOKENS,
        ignore_eos=True,
    ),
    "sampled": SamplingParams(temperature=1, max_tokens=TOKENS, ignore_eos=True),
    "sampled, filters": SamplingParams(
        temperature=0.8,
        top_p=0.95,
        top_k=12,
        min_p=0.02,
        presence_penalty=0.3,
        max_tokens=TOKENS,
        ignore_eos=True,
    ),
}

# Laws are compared over whole texts of a few tokens, with few enough tokens to fill every cell.
LAW_TOKENS = 4
LAW_PARAMS: dict[str, SamplingParams] = {
    "top-k": SamplingParams(top_k=2, max_tokens=LAW_TOKENS, ignore_eos=True),
    "top-k, hot, penalties": SamplingParams(
        temperature=1.6, top_k=2, presence_penalty=0.8, max_tokens=LAW_TOKENS, ignore_eos=True
    ),
}
LEVEL = 1e-4  # family-wise; seeds are fixed, so a sound proposer passes every time
LOG_E_LIMIT = float(np.log(1e6))


class ConformanceError(AssertionError):
    """A proposer changes the target's output, or breaks the contract."""


@dataclass
class Conformance:
    """What was checked.

    Args:
        texts: texts compared token for token.
        draws: texts whose law was compared.
        p_values: of the law tests, by name.
        drafted, accepted: draft tokens over all runs.
        deterministic: whether no draft brought `probs`.
    """

    texts: int = 0
    draws: int = 0
    p_values: dict[str, float] = field(default_factory=dict)
    drafted: int = 0
    accepted: int = 0
    deterministic: bool = True


class Watched(Proposer):
    """Passes everything on, and holds each draft against the contract."""

    def __init__(self, proposer: Proposer, vocab_size: int) -> None:
        super().__init__(proposer.num_speculative_tokens)
        self.proposer = proposer
        self.vocab_size = vocab_size
        self.drafts_trees = proposer.drafts_trees
        self.is_lookup = proposer.is_lookup
        self.deterministic = True
        self.start = proposer.start  # type: ignore[method-assign]
        self.observe = proposer.observe  # type: ignore[method-assign]
        self.finish = proposer.finish  # type: ignore[method-assign]

    def bind(self, target: Any) -> None:
        """Bind it; its needs may be known only now."""
        self.proposer.bind(target)
        self.needs = self.proposer.needs

    def propose(
        self,
        requests: Sequence[Request],
        budgets: Sequence[int],
        slots: Sequence[Sequence[int]],
        noise: DraftNoise,
    ) -> list[Draft]:
        """The proposer's drafts, if they keep the contract.

        Raises:
            ConformanceError: they do not; the message says how.
        """
        before = [list(request.token_ids) for request in requests]
        drafts = self.proposer.propose(requests, budgets, slots, noise)
        if len(drafts) != len(requests):
            raise ConformanceError(f"{len(requests)} requests got {len(drafts)} drafts")
        for request, text, budget, draft in zip(requests, before, budgets, drafts, strict=True):
            if request.token_ids != text:
                raise ConformanceError("propose changed a request's tokens")
            self._check(draft, budget)
        return drafts

    def _check(self, draft: Draft, budget: int) -> None:
        if not self.drafts_trees and not draft.is_chain:
            raise ConformanceError("a tree was drafted, but drafts_trees is False")
        if len(draft) > budget:
            raise ConformanceError(f"{len(draft)} tokens were drafted, the budget is {budget}")
        if any(not 0 <= token < self.vocab_size for token in draft.token_ids):
            raise ConformanceError(f"{draft.token_ids} holds a token outside the vocabulary")
        if draft.probs is None or not len(draft):
            return
        if self.proposer.is_lookup:
            raise ConformanceError("a draft brought probs, but is_lookup says it was not drawn")
        self.deterministic = False
        for token, law in zip(draft.token_ids, draft.probs, strict=True):
            if len(law) != self.vocab_size or abs(float(law.sum()) - 1) > 1e-3:
                raise ConformanceError(
                    f"probs must be laws over {self.vocab_size} tokens that sum to 1, got "
                    f"{len(law)} entries that sum to {float(law.sum()):.4f}"
                )
            if not law[token] > 0:
                raise ConformanceError(f"token {token} was drawn from a law that gives it 0")


def check_proposer(
    proposer_class: Callable[..., Proposer],
    *,
    runner: Callable[[], Runner] = ToyRunner,
    num_speculative_tokens: int = 4,
    draws: int = 2_000,
    **options: Any,
) -> Conformance:
    """Prove on a small target that a proposer changes nothing.

    Runs it in the real engine: batched and alone, with chunked prefill, prefix hits and a pool so
    small that it preempts. Texts must be token-identical to plain decoding: greedy ones, sampled
    ones under Gumbel coupling, and sampled ones under any rule if the drafts are chosen, not drawn.
    Drawn drafts must leave the law of whole texts as it is under `standard` and `block`.

    Args:
        proposer_class: called as `proposer_class(num_speculative_tokens, **options)`.
        runner: makes a target; the default is a toy whose law hashes the whole path. Give a real
            model's runner to a proposer that needs its hidden states or layers.
        num_speculative_tokens: k.
        draws: texts in each test of a law.
        options: the proposer's own keys.

    Returns:
        What was checked.

    Raises:
        ConformanceError: what went wrong, and where.
    """
    suite = Suite(runner, lambda: proposer_class(num_speculative_tokens, **options))
    for name, params in PARAMS.items():
        if params.greedy or suite.report.deterministic:
            suite.check_identity("standard", name, params)
        if not params.greedy:
            suite.check_identity("coupled", name, params)
    if not suite.report.deterministic:
        for rule in suite.rules_that_draw:
            for name, params in LAW_PARAMS.items():
                suite.check_law(rule, name, params, draws)
        suite.settle()
    return suite.report


class Suite:
    """The checks one by one; `check_proposer` runs them all."""

    def __init__(
        self, make_runner: Callable[[], Runner], make_proposer: Callable[[], Proposer]
    ) -> None:
        self.make_runner = make_runner
        self.make_proposer = make_proposer
        self.drafts_trees = make_proposer().drafts_trees
        self.report = Conformance()
        self.vocab_size = make_runner().vocab_size
        size = self.vocab_size
        # Equal beginnings for prefix hits, repeats for those who copy.
        base = [(7 * i * i + 3 * i) % size for i in range(14)]
        self.prompts = [(*base[:10], i % size, *base[: 2 + i % 4]) for i in range(6)]
        self.plain: dict[tuple[str, bool], list[list[int]]] = {}

    @property
    def rules_that_draw(self) -> list[str]:
        """The rules that verify drawn drafts by their laws, where the proposer's shape allows."""
        rules = [rule for rule in RULES.values() if rule.lossless and rule.verify_drawn]
        return [rule.name for rule in rules if rule.takes_trees or not self.drafts_trees]

    def engine(self, rule: str, speculate: bool, **options: Any) -> Engine:
        config = EngineConfig(
            "conformance",
            **{"max_num_seqs": 8, "max_num_batched_tokens": 64, "block_size": 4} | options,
            max_model_len=64,
            speculative_config={"method": "off", "rejection_sample_method": rule},  # type: ignore[arg-type]
        )
        proposer = Watched(self.make_proposer(), self.vocab_size) if speculate else None
        return Engine(config, self.make_runner(), proposer=proposer)

    def finish(self, engine: Engine) -> None:
        while engine.has_unfinished_requests:
            engine.step()
        engine.scheduler.check_integrity()
        if isinstance(engine.proposer, Watched):
            self.report.deterministic &= engine.proposer.deterministic
            self.report.drafted += engine.counters.num_draft_tokens
            self.report.accepted += engine.counters.num_accepted_tokens

    def texts(self, engine: Engine, params: SamplingParams) -> list[list[int]]:
        requests = []
        for i, prompt in enumerate(self.prompts):
            requests.append(engine.add_request(prompt, params, seed=i))
            engine.step()
        self.finish(engine)
        raise_errors(requests)
        return [request.output_token_ids for request in requests]

    def check_identity(self, rule: str, name: str, params: SamplingParams) -> None:
        shared = RULES[rule].shares_noise
        key = (name, shared)
        if key not in self.plain:
            self.plain[key] = self.texts(self.engine(rule, speculate=False), params)
        for stress, options in STRESSES.items():
            found = self.texts(self.engine(rule, speculate=True, **options), params)
            if not (params.greedy or shared or self.report.deterministic):
                return  # the first run has shown that drafts are drawn: their law is tested
            for prompt, text, own in zip(self.prompts, found, self.plain[key], strict=True):
                if text != own:
                    raise ConformanceError(
                        f"{rule}, {name}, {stress}: behind the prompt {prompt} plain decoding says "
                        f"{own}, with this proposer it is {text}"
                    )
            self.report.texts += len(found)

    def check_law(self, rule: str, name: str, params: SamplingParams, draws: int) -> None:
        prompt = self.prompts[0]
        law = text_law(self.make_runner(), prompt, params)
        engine = self.engine(rule, speculate=True, max_num_seqs=32)
        counts: Counter[Text] = Counter()
        for first in range(0, draws, 500):
            seeds = range(first, min(first + 500, draws))
            requests = [engine.add_request(prompt, params, seed=seed) for seed in seeds]
            self.finish(engine)
            raise_errors(requests)
            counts.update(tuple(request.output_token_ids) for request in requests)
            if set(counts) - set(law):
                text = next(iter(set(counts) - set(law)))
                raise ConformanceError(f"{rule}, {name}: {text} cannot come from the target")
            cells = [counts[text] for text in law]
            if log_e_value(cells, list(law.values())) > LOG_E_LIMIT:
                self._fail(f"{rule}, {name}", sum(cells))
        self.report.draws += draws
        self.report.p_values[f"{rule}, {name}"] = g_test(cells, list(law.values()))

    def settle(self) -> None:
        rejected = holm(list(self.report.p_values.values()), LEVEL)
        for name, wrong in zip(self.report.p_values, rejected, strict=True):
            if wrong:
                self._fail(name, self.report.draws)

    def _fail(self, name: str, draws: int) -> None:
        raise ConformanceError(
            f"{name}: {draws} texts do not follow the target's law. Are `probs` the laws "
            "that each token was drawn from? Is every drawn token kept in the draft, whatever its "
            "value? Is `noise.draw` the only source of chance?"
        )


def raise_errors(requests: Sequence[Request]) -> None:
    """Raise what a request ended with: the proposer's own word where there is one."""
    for request in requests:
        if request.error is not None:
            cause = request.error.__cause__
            raise cause if isinstance(cause, ConformanceError) else request.error
