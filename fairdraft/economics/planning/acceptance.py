"""Acceptance of the traffic that is to be served: measured, assumed, or a mix of both.

Text comes in kinds: code and chat, or the stretches for which an n-gram drafter finds a match and
those for which it does not. Kind i writes the share wᵢ of all *tokens*, and Eᵢ(k) of them a step.
A text of N tokens then takes Σ wᵢ·N / Eᵢ(k) steps of its request, so that

    E(k) = 1 / Σ wᵢ / Eᵢ(k)   tokens a step and request

This is Σ sᵢ·Eᵢ with sᵢ ∝ wᵢ / Eᵢ, the share of steps: text that is accepted well is done sooner,
and a batch holds less of it than the traffic does. The mean of Eᵢ by shares of tokens reads too
high.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

import numpy as np
from numpy.typing import ArrayLike

from fairdraft.economics.equations.acceptance import constant, require_survivals
from fairdraft.economics.equations.estimators import alpha_of_length
from fairdraft.economics.planning.acceptance_draws import DrawnAcceptance, DrawnTexts, Texts
from fairdraft.errors import ConfigError
from fairdraft.peers.base import Reading


@dataclass(frozen=True)
class Acceptance:
    """What a drafter is worth on some traffic, whatever it costs.

    Args:
        texts: kinds of text; their shares add up to 1.
        name: for people.
    """

    texts: tuple[Texts, ...]
    name: str = ""

    @classmethod
    def of_alpha(cls, alpha: float) -> Acceptance:
        """Return the acceptance of one rate for every token; taken as given, for any k.

        Raises:
            ConfigError: alpha is not in [0, 1].
        """
        constant(alpha, 1)
        return cls((Texts((float(alpha),), (math.inf,)),), f"α = {alpha:g}")

    @classmethod
    def of_survivals(cls, survivals: ArrayLike) -> Acceptance:
        """Return the acceptance of survivals S_1 … S_k, taken as given.

        Raises:
            ConfigError: none, not in [0, 1], or rising.
        """
        found = require_survivals(survivals)
        if not len(found):
            raise ConfigError("there are no survivals: give S_1 at least, such as 0.7,0.5")
        before = np.concatenate([[1.0], found[:-1]])
        rates = np.divide(found, before, out=np.zeros_like(found), where=before > 0)
        trials = (math.inf,) * len(found)
        return cls((Texts(tuple(rates.tolist()), trials, longest=len(found)),), "survivals")

    @classmethod
    def of_counts(
        cls,
        rounds: float,
        accepted: Sequence[float],
        steps: float | None = None,
        drafted: Sequence[float] = (),
        name: str = "counts",
    ) -> Acceptance:
        """Return the acceptance behind counts at one draft length, the longest to be planned for.

        S_j is out of *all* rounds: a draft that ended before position j is one that did not stand
        there. That is right for a drafter that stops by itself, and for a fixed k.

        Args:
            rounds: with a draft.
            accepted: [≤ k] rounds in which each position stood.
            steps: of requests, those without a draft included; None: all had one.
            drafted: [k] rounds that drafted so far; empty: all of them.
            name: for people.

        Raises:
            ConfigError: nothing was drafted, or counts that cannot be.
        """
        missing = [0.0] * (len(drafted) - len(accepted))  # positions at which nothing ever stood
        stood = np.minimum([*accepted, *missing], float(rounds))  # printed shares are rounded
        if not rounds > 0 or not len(stood):
            raise ConfigError(f"{name}: nothing was drafted, so there is no acceptance to plan for")
        survivals = require_survivals(stood / rounds)
        before = rounds * np.concatenate([[1.0], survivals[:-1]])
        rates = np.divide(stood, before, out=np.zeros_like(stood), where=before > 0)
        texts = Texts(
            tuple(rates.tolist()),
            tuple(before.tolist()),
            drafted_share=min(rounds / steps, 1.0) if steps else 1.0,
            steps=steps or math.inf,
            reach=tuple(min(count / rounds, 1.0) for count in drafted),
            longest=len(stood),
        )
        return cls((texts,), name)

    @classmethod
    def of(cls, *runs: Reading) -> Acceptance:
        """Return the acceptance of measurements at one draft length, all together.

        Without counts per position, the one α that gives their mean acceptance length.

        Raises:
            ConfigError: nothing was drafted.
        """
        name = ", ".join(dict.fromkeys(run.source for run in runs))
        rounds = math.fsum(run.rounds for run in runs)
        told = [run.steps for run in runs if run.steps is not None]
        steps = math.fsum(told) if len(told) == len(runs) else None
        if all(run.accepted_per_position for run in runs) or not rounds:
            stood = _add(run.accepted_per_position for run in runs)
            drafted = _add(run.drafted_per_position or (run.rounds,) * len(stood) for run in runs)
            return cls.of_counts(rounds, stood, steps, drafted, name)
        k = max(1, *(math.ceil(run.k - 1e-9) for run in runs))
        accepted = math.fsum(run.accepted for run in runs)
        alpha = alpha_of_length(min(1 + accepted / rounds, k + 1), k)
        texts = Texts(
            (alpha,),  # one rate for all positions, drawn once for all of them
            (accepted / alpha if alpha else rounds,),
            drafted_share=min(rounds / steps, 1.0) if steps else 1.0,
            steps=steps or math.inf,
            longest=k,
        )
        return cls((texts,), name)

    @classmethod
    def mix(cls, parts: Sequence[tuple[float, Acceptance]]) -> Acceptance:
        """Return the acceptance of traffic of several kinds.

        Args:
            parts: share of all tokens written, and acceptance, of each.

        Raises:
            ConfigError: shares are not in [0, 1], or do not add up to 1.
        """
        for share, part in parts:
            if not 0 <= share <= 1:
                raise ConfigError(
                    f"the share of {part.name} is {share:g}, but must be in [0, 1]: pass 0.7 "
                    "for 70%"
                )
        total = math.fsum(share for share, _ in parts)
        if abs(total - 1) > 1e-6:
            raise ConfigError(
                f"the shares of the traffic add up to {total:g}, but must to 1: they are shares "
                "of all tokens written"
            )
        texts = [
            replace(text, share=text.share * share) for share, part in parts for text in part.texts
        ]
        return cls(tuple(texts), " + ".join(f"{share:.0%} {part.name}" for share, part in parts))

    @property
    def longest(self) -> int | None:
        """The longest draft that all kinds of text speak for; None: any."""
        limits = [text.longest for text in self.texts if text.longest is not None]
        return min(limits, default=None)

    def draw(self, k: int, draws: int = 0, seed: int = 0) -> DrawnAcceptance:
        """Return this acceptance with bootstrap draws of it.

        Rates are drawn from Beta(stood + ½, fell + ½), one by one, so that the survivals never
        rise; the share of steps with a draft likewise. Rounds are taken to be independent.

        Args:
            k: longest draft of interest; beyond `longest` the last rate goes on.
            draws: besides the estimate.
            seed: together with what was measured; two measurements are drawn independently.
        """
        rng = np.random.default_rng([seed, zlib.crc32(repr(self.texts).encode())])
        return DrawnAcceptance([DrawnTexts.of(text, k, draws, rng) for text in self.texts])


def _add(counts: Iterable[Sequence[float]]) -> list[float]:
    """Return sums by position; the shorter lists end with zeros."""
    return [math.fsum(column) for column in zip_longest(*counts, fillvalue=0.0)]
