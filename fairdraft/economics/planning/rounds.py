"""Rounds of requests, drawn from an acceptance: how many tokens each drafts and keeps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fairdraft.economics.planning.acceptance import Acceptance
from fairdraft.economics.planning.acceptance_draws import DrawnTexts

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class RoundLaw:
    """The law of a decoding step of one request on one kind of text.

    Args:
        drafted: [outcomes] draft tokens.
        accepted: [outcomes] those that stand; never falls, so that one number drawn from [0, 1]
            means a good or a bad step at every draft length.
        ends: [outcomes] probabilities, summed up.
        share: of all requests.
    """

    drafted: IntArray
    accepted: IntArray
    ends: FloatArray
    share: float = 1.0

    @classmethod
    def plain(cls) -> RoundLaw:
        """Return the law of steps without speculation."""
        return cls(np.zeros(1, np.int64), np.zeros(1, np.int64), np.ones(1))

    @classmethod
    def of(cls, text: DrawnTexts, k: int) -> RoundLaw:
        """Return the law of a kind of text at draft length k.

        How long a draft is and how its tokens fare are taken to be independent.
        """
        length = float(text.length(k, np.ones(()))[0])
        drafting = float(text.covered[0]) / length  # steps for each token
        share = drafting / (drafting + 1 - float(text.covered[0]))
        reach = text.reach[:k] / max(float(text.reach[0]), 1e-300)
        before = np.concatenate([[1.0], reach[:-1]])
        # Rates are out of all rounds; a token that was drafted has fewer to be compared with.
        rates = np.divide(
            text.rates[0, :k] * before, reach, out=np.zeros_like(reach), where=reach > 0
        ).clip(0, 1)
        exactly = -np.diff([*reach, 0.0])
        outcomes = [(0, 0, 1 - share)]
        for drafted, chance in enumerate(exactly, 1):
            stands = np.concatenate([[1.0], rates[:drafted].cumprod(), [0.0]])
            for accepted, part in enumerate(-np.diff(stands)):
                outcomes.append((accepted, drafted, share * chance * part))
        outcomes.sort()
        return cls(
            np.array([each[1] for each in outcomes], np.int64),
            np.array([each[0] for each in outcomes], np.int64),
            np.cumsum([each[2] for each in outcomes]),
            text.share,
        )

    def draw(self, uniform: FloatArray) -> tuple[IntArray, IntArray]:
        """Return tokens drafted and accepted for numbers drawn from [0, 1): [n] each."""
        places = np.searchsorted(self.ends, uniform * self.ends[-1], "right")
        places = np.minimum(places, len(self.ends) - 1)
        return self.drafted[places], self.accepted[places]


def round_laws(acceptance: Acceptance | None, k: int) -> list[RoundLaw]:
    """Return the laws of a decoding step, one for each kind of text.

    Args:
        acceptance: of the traffic; None: nobody drafts.
        k: draft length; 0 without drafting.
    """
    if acceptance is None or not k:
        return [RoundLaw.plain()]
    return [RoundLaw.of(text, k) for text in acceptance.draw(k).kinds]
