"""One suite that every proposer must pass, ours or yours: `check_proposer(MyProposer)`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fairdraft.config import EngineConfig, SamplingParams
from fairdraft.engine.engine import Engine
from fairdraft.models import Runner
from fairdraft.proposers import Proposer
from fairdraft.stats import g_test, holm, log_e_value
from fairdraft.testing.contract import ConformanceError, WatchedProposer
from fairdraft.testing.laws import Text, text_law
from fairdraft.testing.toy import RepeatingToyRunner
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


def check_proposer(
    proposer_class: Callable[..., Proposer],
    *,
    runner: Callable[[], Runner] = RepeatingToyRunner,
    prompts: Sequence[Sequence[int]] | None = None,
    num_speculative_tokens: int = 4,
    draws: int = 2_000,
    **options: Any,
) -> Conformance:
    """Prove on a small target that a proposer changes nothing.

    Runs it in the real engine: batched and alone, with chunked prefill, prefix hits and a pool so
    small that it preempts. Texts must be token-identical to plain decoding: greedy ones, sampled
    ones under Gumbel coupling, and sampled ones under any rule if the drafts are chosen, not drawn.
    Drawn drafts must leave the law of whole texts as it is under `standard` and `block`.
    A run in which no token was drafted, or none accepted, has shown nothing and fails too.

    Args:
        proposer_class: called as `proposer_class(num_speculative_tokens, **options)`.
        runner: makes a target; the default is a toy whose law hashes the whole path and likes to
            repeat what stands there. Give a real model's runner to a proposer that needs its hidden
            states or layers.
        prompts: token ids that the texts begin with, at most 48 each; None takes six that repeat
            themselves. A proposer that finds nothing to draft there needs others.
        num_speculative_tokens: k.
        draws: texts in each test of a law.
        options: the proposer's own keys.

    Returns:
        What was checked.

    Raises:
        ConformanceError: what went wrong, and where.
    """
    suite = Suite(runner, lambda: proposer_class(num_speculative_tokens, **options), prompts)
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
    suite.require_drafts()
    return suite.report


def repeating_prompts(vocab_size: int) -> list[tuple[int, ...]]:
    """Six prompts of 15 to 20 tokens: equal beginnings for prefix hits, ends that stood before."""
    base = [(7 * i * i + 3 * i) % vocab_size for i in range(10)]
    return [(*base, i % vocab_size, *base[: 4 + i]) for i in range(6)]


class Suite:
    """The checks one by one; `check_proposer` runs them all."""

    def __init__(
        self,
        make_runner: Callable[[], Runner],
        make_proposer: Callable[[], Proposer],
        prompts: Sequence[Sequence[int]] | None = None,
    ) -> None:
        self.make_runner = make_runner
        self.make_proposer = make_proposer
        self.drafts_trees = make_proposer().drafts_trees
        self.report = Conformance()
        self.vocab_size = make_runner().vocab_size
        self.prompts = (
            repeating_prompts(self.vocab_size)
            if prompts is None
            else [tuple(prompt) for prompt in prompts]
        )
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
        proposer = WatchedProposer(self.make_proposer(), self.vocab_size) if speculate else None
        return Engine(config, self.make_runner(), proposer=proposer)

    def finish(self, engine: Engine) -> None:
        while engine.has_unfinished_requests:
            engine.step()
        engine.scheduler.check_integrity()
        if isinstance(engine.proposer, WatchedProposer):
            self.report.deterministic &= engine.proposer.deterministic
            self.report.drafted += engine.counters.num_draft_tokens
            self.report.accepted += engine.counters.num_accepted_tokens

    def texts(self, engine: Engine, params: SamplingParams) -> list[list[int]]:
        requests = []
        for i, prompt in enumerate(self.prompts):
            requests.append(engine.add_request(prompt, params, seed=i))
            engine.step()
        self.finish(engine)
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
            counts.update(tuple(request.output_token_ids) for request in requests)
            if set(counts) - set(law):
                text = next(iter(set(counts) - set(law)))
                raise ConformanceError(f"{rule}, {name}: {text} cannot come from the target")
            cells = [counts[text] for text in law]
            if log_e_value(cells, list(law.values())) > LOG_E_LIMIT:
                self._fail(f"{rule}, {name}", sum(cells))
        self.report.draws += draws
        self.report.p_values[f"{rule}, {name}"] = g_test(cells, list(law.values()))

    def require_drafts(self) -> None:
        """Raise `ConformanceError` if no draft was ever put to the test, or none stood it."""
        if not self.report.drafted:
            raise ConformanceError(
                "not one token was drafted in all these runs, so nothing was shown: give prompts "
                "on which it drafts (prompts=…), a target that it can draft for (runner=…), or "
                "options under which it drafts sooner"
            )
        if not self.report.accepted:
            raise ConformanceError(
                f"none of {self.report.drafted} drafted tokens was accepted, so what follows an "
                "accepted token was never shown: give the target that it drafts for (runner=…), "
                "or prompts whose continuation it can guess (prompts=…). If none of its drafts is "
                "accepted on its own target either, it is lossless, but only costs time"
            )

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
