"""Counts that came with answers: exact, by request, with positions out of a histogram."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from fairdraft.errors import ReadingError
from fairdraft.peers.base import Reading, Record, number, numbers
from fairdraft.peers.windows import added, join

MOST = 4096  # tokens of a draft: a longer histogram is none


@dataclass(frozen=True)
class Answer:
    """What a request drafted and took.

    Args:
        rounds, drafted, accepted: counts; steps without a draft are no rounds.
        stood: rounds in which each position stood.
        tried: rounds that drafted so far, by position; empty if it is not said.
        tokens: written, the first included; None if it is not said.
        decode_seconds: from the first token to the last; None if it is not said.
        max_k: the longest draft that was allowed; None if it is not said.
        drafted_is_known: whether the answer says what was drafted; else `drafted` is the least.
    """

    rounds: float
    drafted: float
    accepted: float
    stood: tuple[float, ...] = ()
    tried: tuple[float, ...] = ()
    tokens: float | None = None
    decode_seconds: float | None = None
    max_k: float | None = None
    drafted_is_known: bool = True

    @property
    def steps(self) -> float | None:
        """Decoding steps: each wrote one token more than it accepted; the first token is none's."""
        if self.tokens is None:
            return None
        return max(self.tokens - 1 - self.accepted, self.rounds)


def reading(answers: Sequence[Answer], source: str, notes: tuple[str, ...] = ()) -> list[Reading]:
    """Return the answers together, each of them a window.

    Args:
        answers: at least one.
        source: for people.
        notes: what biases them.
    """
    windows = [_window(answer, source) for answer in answers]
    whole = join(windows, source, notes)
    steps, seconds = whole.steps, whole.seconds
    tried = added([answer.tried for answer in answers])
    return [
        replace(
            whole,
            step_seconds=seconds / steps if steps and seconds else None,
            drafted_per_position=tried if all(x.tried or not x.rounds for x in answers) else (),
            requests=1 if seconds else None,  # the time is each request's own
            windows=() if len(windows) == 1 else whole.windows,
        )
    ]


def _window(answer: Answer, source: str) -> Reading:
    steps, seconds = answer.steps, answer.decode_seconds or None
    written = None if answer.tokens is None else max(answer.tokens - 1, 0.0)
    return Reading(
        source,
        answer.rounds,
        answer.drafted,
        answer.accepted,
        answer.stood,
        written / seconds if written and seconds else None,
        requests=1 if seconds else None,
        step_seconds=seconds / steps if steps and seconds else None,
        drafted_per_position=answer.tried,
        steps=steps,
        seconds=seconds,
        generated=written,
        max_k=answer.max_k,
        drafted_is_known=answer.drafted_is_known,
    )


def histogram(record: Record, name: str, source: str) -> tuple[float, ...]:
    """Return how many steps accepted 0, 1, … draft tokens; a list, or an object by number.

    Raises:
        ReadingError: it is neither.
    """
    found = record.get(name)
    if not isinstance(found, Mapping):
        counts = numbers(record, name, source)
    else:
        if not all(str(key).isdigit() and int(key) < MOST for key in found):
            raise ReadingError(
                f"{source!r}: {name} has the keys {list(found)!r:.60}, but must say how many steps "
                "accepted 0, 1, … tokens: give the answer as the server wrote it"
            )
        values = {int(key): number(found, key, source) for key in found}
        counts = tuple(values.get(i, 0.0) for i in range(max(values, default=-1) + 1))
    if len(counts) > MOST:
        raise ReadingError(f"{source!r}: {name} has {len(counts)} entries: {MOST} are the most")
    return counts


def survivors(counts: Sequence[float]) -> tuple[float, ...]:
    """Return in how many rounds each position stood, from how many accepted 0, 1, … tokens."""
    found = [sum(counts[i:]) for i in range(1, len(counts))]
    while found and not found[-1]:
        found.pop()
    return tuple(found)


def agree(counts: Sequence[float], rounds: float, accepted: float, source: str) -> None:
    """Check a histogram against the counts beside it.

    Raises:
        ReadingError: they do not fit one another.
    """
    if not counts:
        return
    total = sum(i * count for i, count in enumerate(counts))
    if sum(counts) != rounds or total != accepted:
        raise ReadingError(
            f"{source!r}: the histogram says {sum(counts):.0f} rounds and {total:.0f} accepted "
            f"tokens, the counts beside it {rounds:.0f} and {accepted:.0f}: give the answer as the "
            "server wrote it"
        )
