"""The same traffic again under any policy, at any prices: compared in seconds, free of noise."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from fairdraft.economics.costs.profile import Profile
from fairdraft.economics.policies import Policy, Stream
from fairdraft.economics.prices import reading
from fairdraft.economics.traced import Text
from fairdraft.errors import ConfigError


@dataclass
class Replayed:
    """What a policy made of the traffic.

    Attributes:
        seconds, tokens, steps: in all.
        drafting: per step, whether anything was drafted.
        kinds: per step, the traffic's kind, of most streams.
        step_seconds, step_tokens: per step.
        reading: per step, whether a text began in it.
    """

    seconds: float = 0.0
    tokens: int = 0
    steps: int = 0
    drafting: list[bool] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    step_seconds: list[float] = field(default_factory=list)
    step_tokens: list[int] = field(default_factory=list)
    reading: list[bool] = field(default_factory=list)

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
    texts: Sequence[Text],
    policy: Policy,
    profile: Profile,
    method: str,
    concurrency: int,
    extrapolate: bool = False,
) -> Replayed:
    """Write the texts again, so many at once, each finished one replaced by the next.

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
        ConfigError: fewer texts, or something was not measured and `extrapolate` is False.
    """
    if len(texts) < concurrency:
        raise ConfigError(
            f"the trace has {len(texts)} texts, fewer than {concurrency} at once: lower it"
        )
    waiting, running = deque(texts), list[Stream]()
    drafter = profile.drafter(method)
    done = Replayed()
    while len(waiting) + len(running) >= concurrency:
        while waiting and len(running) < concurrency:
            running.append(Stream(waiting.popleft()))
        fresh = [stream for stream in running if not stream.place]
        decoding = [stream for stream in running if stream.place]
        seconds = _prefill(profile, sum(stream.text.context for stream in fresh))
        lengths: list[int] = []
        if decoding:
            count = len(decoding)
            context = sum(s.text.context + s.place for s in decoding) / count
            lengths = policy.lengths(decoding, context)
            rows = 1 + sum(lengths) / count
            seconds += profile.step.seconds(count, rows, context, extrapolate)
            if fresh and profile.prefill:
                seconds -= profile.step.seconds(1, 1, context, True)  # the weights are read once
            if asked := policy.num_asked:
                longest = max(*lengths, drafter.rows[0])
                drafting = drafter.seconds(asked, longest, context, extrapolate)
                policy.took(asked, longest, context, drafting)
                seconds += drafting
                if policy.num_late:
                    token = drafter.seconds(1, 1, context, True)
                    seconds += reading(token, policy.num_late)
        gained = len(fresh)
        for stream in fresh:
            stream.place = 1
        for stream, length in zip(decoding, lengths, strict=True):
            accepted = min(length, stream.stood)
            stream.place += accepted + 1
            gained += accepted + 1
            policy.after(stream, length, accepted)
        kinds = [stream.text.kind for stream in running]
        done.seconds += seconds
        done.tokens += gained
        done.steps += 1
        done.drafting.append(any(lengths))
        done.kinds.append(max(kinds, key=kinds.count))
        done.step_seconds.append(seconds)
        done.step_tokens.append(gained)
        done.reading.append(bool(fresh))
        for stream in running:
            if stream.place >= len(stream.text):
                policy.end(stream)
        running = [stream for stream in running if stream.place < len(stream.text)]
    for stream in running:
        policy.end(stream)
    return done


def _prefill(profile: Profile, rows: int) -> float:
    """Seconds to read so many prompt tokens; 0 if the profile does not say."""
    surface = profile.prefill
    if not rows or surface is None:
        return 0.0
    whole, rest = divmod(rows, surface.rows[-1])
    seconds = whole * surface.seconds(1, surface.rows[-1], 0)
    return seconds + (surface.seconds(1, rest, 0, True) if rest else 0.0)
