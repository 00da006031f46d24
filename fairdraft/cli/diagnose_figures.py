"""The figures of a reading by name, as text: what a report and a watch show of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fairdraft.peers import Reading

NOT_TOLD = "–"


def _plain(form: str, name: str) -> Callable[[Reading], str]:
    def show(reading: Reading) -> str:
        value = getattr(reading, name)
        return NOT_TOLD if value is None else format(value, form)

    return show


def _drafting(form: str, name: str) -> Callable[[Reading], str]:
    def show(reading: Reading) -> str:
        return format(getattr(reading, name), form) if reading.speculates else NOT_TOLD

    return show


def _milliseconds(name: str) -> Callable[[Reading], str]:
    def show(reading: Reading) -> str:
        value = getattr(reading, name)
        return NOT_TOLD if value is None else f"{value * 1e3:.2f} ms"

    return show


def _step(reading: Reading) -> str:
    kind = "" if reading.step_is_measured else ", worked out"
    shown = _milliseconds("step_time")(reading)
    return shown if shown == NOT_TOLD else shown + kind


def _share(reading: Reading) -> str:
    return f"{reading.draft_share:.1%}" if reading.steps and reading.speculates else NOT_TOLD


def _survivals(reading: Reading) -> str:
    return ", ".join(f"{each:.0%}" for each in reading.survivals) or NOT_TOLD


def _windows(reading: Reading) -> str:
    return str(len(reading.windows)) if reading.windows else NOT_TOLD


FIGURES: dict[str, Callable[[Reading], str]] = {
    "tokens/s": _plain(",.1f", "tokens_per_second"),
    "requests running": _plain(",.1f", "requests"),
    "requests waiting": _plain(",.1f", "waiting"),
    "KV usage": _plain(".0%", "kv_usage"),
    "preemptions": _plain(",.0f", "preemptions"),
    "prompt tokens/s": _plain(",.1f", "prompt_tokens_per_second"),
    "step": _step,
    "of it drafting": _milliseconds("draft_seconds"),
    "inter-token latency": _milliseconds("inter_token_seconds"),
    "inter-chunk latency": _milliseconds("inter_chunk_seconds"),
    "seconds": _plain(",.1f", "seconds"),
    "windows": _windows,
    "tokens generated": _plain(",.0f", "generated"),
    "steps of requests": _plain(",.0f", "steps"),
    "rounds (steps with a draft)": _drafting(",.0f", "rounds"),
    "steps with a draft": _share,
    "draft tokens": _drafting(",.0f", "drafted"),
    "accepted": _drafting(",.0f", "accepted"),
    "k": _drafting(".1f", "k"),
    "acceptance rate": _drafting(".1%", "acceptance_rate"),
    "stand, by position": _survivals,
    "mean acceptance length": _drafting(".2f", "acceptance_length"),
    "tokens a step": _plain(".2f", "tokens_per_step"),
    "engines": _plain("d", "engines"),
}


def rows(readings: Sequence[Reading], names: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Return figures by name, one text a reading; a dash where it does not tell one.

    Args:
        readings: side by side.
        names: of `FIGURES`.
    """
    return [(name, [FIGURES[name](reading) for reading in readings]) for name in names]
