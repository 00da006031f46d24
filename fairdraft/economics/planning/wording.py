"""What a diagnosis says of each cause: what shows it, and what to try next."""

from __future__ import annotations

from dataclasses import dataclass

from fairdraft.economics.planning import losses
from fairdraft.peers.base import Reading

POOR = 0.35  # first token's acceptance below this, and a drafter does not fit; above, it is short
SLACK = 1.2  # plain steps a drafted token adds, above which no arithmetic explains it
STEADY = 0.6  # last positions stand at least so often, and a longer draft may pay


@dataclass(frozen=True)
class Figures:
    """The figures that the words name.

    Args:
        on: the reading with speculation.
        off: the one without.
        needed: tokens a step at which it would pay.
        tokens: tokens a step that were measured.
        most: tokens a step if every draft stood.
        over: plain steps that a step takes beyond what its rows explain.
        first, later: how often the first token stands, and those behind it.
    """

    on: Reading
    off: Reading
    needed: float
    tokens: float
    most: float
    over: float
    first: float
    later: float

    @property
    def per_token(self) -> float:
        """Plain steps that each drafted token adds to a step."""
        return max(self.needed - 1, 0.0) / (self.on.k * self.on.draft_share)


def describe(cause: str, figures: Figures, hidden: tuple[str, ...]) -> tuple[str, str]:
    """Return the cause with what shows it, and the next thing to try.

    Args:
        cause: one of `losses.CAUSES`.
        figures: of the two runs.
        hidden: causes that the readings do not tell from this one.
    """
    shows, advice = _WORDS[cause](figures)
    if hidden:
        shows += f" ({' or '.join(hidden)} would look the same in this file)"
    return shows, advice


def pays(figures: Figures) -> tuple[str, str]:
    """Return what is said of a run that is faster with speculation."""
    advice, survivals = "leave it on", figures.on.survivals
    if survivals and survivals[-1] > STEADY:
        advice = "leave it on; try a longer draft, for most of its last positions stand"
    return (
        f"it pays: {figures.tokens:.2f} tokens a step, and {figures.needed:.2f} are needed",
        advice,
    )


def _step(figures: Figures) -> tuple[str, str]:
    k, on = figures.on.k, figures.on
    shows = f"step cost: a step takes {figures.needed:.2f} plain ones"
    if figures.per_token > SLACK:
        advice = (
            "a draft adds more than a plain step for every token in it, which no arithmetic "
            "explains: look for a slow path (no CUDA graph of that size, attention made for one "
            "query row)"
        )
        if on.draft_seconds is None:
            advice += " or a drafter that is waited for; time draft and verification apart"
    else:
        advice = (
            f"each drafted token adds {figures.per_token:.2f} of a plain step: "
            f"k = {max(int(k) // 2, 1)}"
        )
        if on.draft_seconds is None:
            advice += ", or a cheaper drafter; time draft and verification apart to see which"
    if figures.needed > figures.most:
        shows += f", and k = {k:.3g} can write {figures.most:.3g} tokens at most"
        advice = f"no k = {k:.3g} drafter can win: {advice}; or turn it off"
    return shows, advice


def _drafting(figures: Figures) -> tuple[str, str]:
    seconds = figures.on.draft_seconds or 0.0
    plain = figures.off.step_time or 1.0
    return (
        f"drafting cost: drafting takes {seconds * 1e3:.2f} ms of a step, {seconds / plain:.2f} of "
        "a plain one",
        f"a smaller drafter, a lookup, or k = {max(int(figures.on.k) // 2, 1)}",
    )


def _mismatch(figures: Figures) -> tuple[str, str]:
    if figures.first >= POOR:
        return (
            f"drafter mismatch: acceptance is low: {figures.tokens:.2f} tokens a step, and "
            f"{figures.needed:.2f} are needed",
            "a shorter draft, a drafter that suits this text better, or off",
        )
    return (
        f"drafter mismatch: the first token stands in {figures.first:.0%} of rounds: the drafter "
        "does not fit (a head of another target or version, another tokenizer), or not this text",
        "try a prompt it was measured on: if it is right there, it is the traffic; if not, check "
        "which target it was trained for",
    )


def _collapse(figures: Figures) -> tuple[str, str]:
    return (
        f"position-1 collapse: the first token stands in {figures.first:.0%} of rounds, but those "
        f"behind it in {figures.later:.0%}: the drafter knows the language and starts in the wrong "
        "place",
        "compare the token ids that drafter and target see (chat template, BOS, tokenizer, hidden "
        "states one position off); of an n-gram lookup it means matches that are too short: raise "
        "prompt_lookup_min",
    )


def _workload(figures: Figures) -> tuple[str, str]:
    return (
        f"workload: {figures.on.draft_share:.0%} of the steps have a draft, and the others pay "
        "for being ready to: the texts repeat too little",
        "a drafter that always has a guess (a trained head), shorter matches (prompt_lookup_min), "
        "or off for this traffic",
    )


def _saturation(figures: Figures) -> tuple[str, str]:
    requests = figures.on.requests or 0.0
    rows = requests * (1 + figures.on.k * figures.on.draft_share)
    return (
        f"saturation: {requests:.0f} requests make {rows:.0f} rows a step, and each drafted token "
        f"adds {figures.per_token:.2f} of a plain step: the machine has no room left",
        "shorter drafts as more requests run, none from some number on "
        "(num_speculative_tokens_per_batch_size in vLLM); measure one request to be sure",
    )


def _preemption(figures: Figures) -> tuple[str, str]:
    return (
        f"preemption: {figures.on.preemptions or 0:.0f} times a request lost its KV blocks and "
        "read its tokens again: the drafter and its drafts take room that requests need",
        "more memory for KV blocks (gpu_memory_utilization), fewer requests at once, a smaller "
        "drafter, or off at this load",
    )


def _unknown(figures: Figures) -> tuple[str, str]:
    on, off = figures.on, figures.off
    usage = "" if on.kv_usage is None else f", and the KV blocks are {on.kv_usage:.0%} full"
    return (
        f"unknown: {on.requests or 0:.0f} requests ran where {off.requests or 0:.0f} did without, "
        f"{on.waiting or 0:.0f} waited{usage}: preemption or queueing, which this file does not "
        "tell apart",
        "compare two /metrics pages (num_preemptions), and give the KV cache more memory or run "
        "fewer requests at once",
    )


_WORDS = {
    losses.STEP: _step,
    losses.DRAFTING: _drafting,
    losses.MISMATCH: _mismatch,
    losses.COLLAPSE: _collapse,
    losses.WORKLOAD: _workload,
    losses.SATURATION: _saturation,
    losses.PREEMPTION: _preemption,
    losses.UNKNOWN: _unknown,
}
