"""What a simulated server made of its requests: throughput, and how long each had to wait."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Served:
    """Requests that a server finished, or began, in a stretch of time.

    Args:
        seconds: from the first arrival to the end.
        tokens: given in them.
        steps: of the engine.
        ttft: [began] seconds from arrival to first token, the queue included.
        inter_token: [finished] inter-token latency of a request: seconds from its first token to
            its last, over its tokens but one; of those with two tokens or more.
        inter_chunk: [chunks] inter-chunk latency: seconds between two steps that gave a request
            tokens. A step gives it several where drafts stand.
        latency: [finished] seconds from arrival to last token.
        decoding: mean requests that decode in a step.
        preemptions: requests that lost their KV and began again.
    """

    seconds: float
    tokens: int
    steps: int
    ttft: FloatArray
    inter_token: FloatArray
    inter_chunk: FloatArray
    latency: FloatArray
    decoding: float
    preemptions: int = 0

    @property
    def tokens_per_second(self) -> float:
        """Tokens a second, prompts read in that time included."""
        return self.tokens / self.seconds if self.seconds else 0.0

    @property
    def requests_per_second(self) -> float:
        """Requests finished a second."""
        return len(self.latency) / self.seconds if self.seconds else 0.0

    @property
    def mean_latency(self) -> float:
        """Mean seconds from arrival to last token; infinite where none finished."""
        return float(self.latency.mean()) if len(self.latency) else float("inf")


def percentile(values: FloatArray, share: float) -> float:
    """Return the value that so many per cent lie under; NaN of none."""
    return float(np.percentile(values, share)) if len(values) else float("nan")
