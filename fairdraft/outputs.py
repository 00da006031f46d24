"""What a user gets back. Shapes and names are vLLM's, with a speculation record added."""

from __future__ import annotations

from dataclasses import dataclass, field

from fairdraft.errors import FairdraftError
from fairdraft.telemetry import SpecCounters


@dataclass
class CompletionOutput:
    """One completion of a prompt.

    Args:
        index: which of the `n` completions.
        text: the output, cut before a stop string.
        token_ids: the output's tokens, EOS included.
        finish_reason: "stop", "length", "abort" or "error"; None while it runs.
        stop_reason: the stop string or stop token that ended it; None for EOS.
        logprobs: per token {token id: log-probability}, the sampled one first; None if not asked.
        spec: drafted and accepted counts, also per position, and decoding steps.
        lossless: False if acceptance was by decree (`rejection_sample_method` "synthetic"): the
            text then is not the target's.
        error: why it ended with "error"; what it gained before stands.
    """

    index: int
    text: str = ""
    token_ids: list[int] = field(default_factory=list)
    finish_reason: str | None = None
    stop_reason: int | str | None = None
    logprobs: list[dict[int, float]] | None = None
    spec: SpecCounters = field(default_factory=SpecCounters)
    lossless: bool = True
    error: FairdraftError | None = None


@dataclass
class RequestOutput:
    """Everything one prompt led to.

    Args:
        request_id: unique within the `LLM`.
        prompt: as text, if it came as text.
        prompt_token_ids: as tokens.
        outputs: the `n` completions.
        num_cached_tokens: prompt tokens whose KV was reused.
    """

    request_id: str
    prompt: str | None
    prompt_token_ids: list[int]
    outputs: list[CompletionOutput]
    num_cached_tokens: int = 0

    @property
    def finished(self) -> bool:
        """Whether every completion has ended."""
        return all(output.finish_reason is not None for output in self.outputs)

    @property
    def lossless(self) -> bool:
        """Whether every completion is what the target would have said."""
        return all(output.lossless for output in self.outputs)

    @property
    def spec(self) -> SpecCounters:
        """The speculation record of all completions together."""
        total = SpecCounters()
        for output in self.outputs:
            total.merge(output.spec)
        return total


@dataclass(frozen=True)
class StreamEvent:
    """What one step added to one completion.

    Args:
        output: the prompt's outputs so far; the same object in every event of a prompt.
        index: which completion grew.
        text: new text.
        token_ids: new tokens; the first `num_accepted` of them were drafted.
        draft_token_ids: the whole draft that was verified, the accepted tokens first.
        num_accepted: how many of `token_ids` were drafted; the draft's others were rejected, or
            lay behind the text's end.
    """

    output: RequestOutput
    index: int
    text: str
    token_ids: list[int]
    draft_token_ids: tuple[int, ...]
    num_accepted: int
