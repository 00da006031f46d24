"""The same traffic again under any policy, at any prices: compared in seconds, free of noise."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from fairdraft.economics.autopilot.draft_potential import TracedText
from fairdraft.economics.autopilot.policies import Policy
from fairdraft.economics.autopilot.traced_drafts import Stream, TracedDrafts
from fairdraft.economics.costs.profile import Profile
from fairdraft.economics.costs.prompt_costs import PromptCosts
from fairdraft.errors import ConfigError


@dataclass
class Replayed:
    """Seconds and tokens that a policy made of the traffic.

    Attributes:
        seconds, tokens, steps: in all.
        drafted: per step, draft tokens of each text that decoded in it.
        drafting: per step, whether anything was drafted.
        kinds: per step, the traffic's kind, of most streams.
        step_seconds, step_tokens: per step.
        reading: per step, whether a text began in it.
    """

    seconds: float = 0.0
    tokens: int = 0
    steps: int = 0
    drafted: list[dict[str, int]] = field(default_factory=list)
    drafting: list[bool] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    step_seconds: list[float] = field(default_factory=list)
    step_tokens: list[int] = field(default_factory=list)
    reading: list[bool] = field(default_factory=list)

    def add(
        self,
        decoding: Sequence[Stream],
        lengths: Sequence[int],
        fresh: Sequence[Stream],
        rows: Mapping[str, int],
        seconds: float,
    ) -> None:
        """Count a step.

        Args:
            decoding: streams that decoded in it.
            lengths: of their drafts.
            fresh: streams whose prompt was read.
            rows: by text, those that stand.
            seconds: drafting included.
        """
        kinds = [stream.text.kind for stream in (*decoding, *fresh)]
        gained = len(fresh) + sum(rows[stream.text.name] for stream in decoding)
        names = (stream.text.name for stream in decoding)
        self.seconds += seconds
        self.tokens += gained
        self.steps += 1
        self.drafted.append(dict(zip(names, lengths, strict=True)))
        self.drafting.append(any(lengths))
        self.kinds.append(max(kinds, key=kinds.count))
        self.step_seconds.append(seconds)
        self.step_tokens.append(gained)
        self.reading.append(bool(fresh))

    @property
    def rate(self) -> float:
        """Tokens a second."""
        return self.tokens / self.seconds

    @property
    def decoding_rate(self) -> float:
        """Tokens a second of the steps that read no prompt."""
        counts = ~np.array(self.reading)
        return float(
            np.sum(self.step_tokens, where=counts) / np.sum(self.step_seconds, where=counts)
        )

    @property
    def switches(self) -> int:
        """How often drafting began or ended."""
        return int(np.count_nonzero(np.diff(np.array(self.drafting, np.int8))))


def replay(
    texts: Sequence[TracedText],
    policy: Policy,
    profile: Profile,
    method: str,
    concurrency: int,
    extrapolate: bool = False,
) -> Replayed:
    """Write traced texts again under a policy, so many at once, each followed by the next.

    It ends when fewer are left than run at once: what a server is worth shows under load. Prompts
    are priced if the profile has prefill in it; a step that reads one runs the other texts too.

    Args:
        texts: in the order they come, at least `concurrency`.
        policy: how long the drafts are.
        profile: what steps and drafts cost.
        method: whose drafts they are.
        concurrency: texts at once.
        extrapolate: price what was not measured too.

    Raises:
        ConfigError: fewer texts, none at once, or something was not measured and `extrapolate` is
            False.
    """
    if concurrency < 1:
        raise ConfigError(f"concurrency is {concurrency}: at least 1 text is written at once")
    if len(texts) < concurrency:
        raise ConfigError(
            f"the trace has {len(texts)} texts, fewer than {concurrency} at once: lower it"
        )
    waiting, running, ended = deque(texts), list[Stream](), list[Stream]()
    clock = policy.clock
    drafts = TracedDrafts(profile.drafter(method), clock, extrapolate)
    prompts = PromptCosts.of_profile(profile) if profile.prefill is not None else None
    done = Replayed()
    while len(waiting) + len(running) >= concurrency:
        # A proposer drafts for the next step before those that the last one ended are forgotten.
        start, decoding = clock.seconds, list(running)
        lengths = _drafted(decoding, policy, drafts)
        _forget(ended, policy, drafts)
        while waiting and len(running) < concurrency:
            running.append(Stream(waiting.popleft()))
        fresh = running[len(decoding) :]
        seconds = _step_seconds(profile, prompts, decoding, lengths, fresh, extrapolate)
        clock.seconds += seconds
        rows = {stream.text.name: stream.text.context for stream in fresh}
        for stream in fresh:
            stream.place = 1
        for stream, length in zip(decoding, lengths, strict=True):
            rows[stream.text.name] = stream.verify(length) + 1
        policy.ran(list(rows), seconds)
        before = clock.seconds
        drafts.observe(rows, policy.defers())
        policy.read(clock.seconds - before)
        done.add(decoding, lengths, fresh, rows, clock.seconds - start)
        ended = [stream for stream in running if stream.place >= len(stream.text)]
        running = [stream for stream in running if stream.place < len(stream.text)]
    _forget([*ended, *running], policy, drafts)
    return done


def _drafted(decoding: Sequence[Stream], policy: Policy, drafts: TracedDrafts) -> list[int]:
    """Return how long the draft of each stream is that decodes."""
    if not decoding:
        return []
    drafts.begin(decoding)
    return policy.lengths(drafts)


def _forget(ended: Sequence[Stream], policy: Policy, drafts: TracedDrafts) -> None:
    """End streams whose text is written."""
    for stream in ended:
        policy.end(stream)
        drafts.forget(stream.text.name)


def _step_seconds(
    profile: Profile,
    prompts: PromptCosts | None,
    decoding: Sequence[Stream],
    lengths: Sequence[int],
    fresh: Sequence[Stream],
    extrapolate: bool,
) -> float:
    """Return the seconds of a step, drafting left out; prompts without a price take none."""
    seconds, rows = 0.0, len(decoding) + sum(lengths)
    if decoding:
        count = len(decoding)
        context = sum(stream.num_tokens for stream in decoding) / count
        seconds = profile.step.seconds(count, rows / count, context, extrapolate)
    if fresh and prompts is not None:
        seconds = prompts.step([(stream.text.context, 0) for stream in fresh], rows, seconds)
    return seconds
