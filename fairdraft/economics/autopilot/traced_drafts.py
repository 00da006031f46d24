"""Drafts of a traced method while its texts are written again, at a profile's costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fairdraft.economics.autopilot.draft_potential import TracedText
from fairdraft.economics.autopilot.pilot import Found
from fairdraft.economics.costs.cost_surface import CostSurface
from fairdraft.economics.costs.live_costs import UNREAD_ROWS, reading_seconds


@dataclass
class Stream:
    """A traced text while it is written again.

    Attributes:
        text: which.
        place: tokens written.
        num_steps, num_draft_tokens, num_accepted_tokens: so far.
    """

    text: TracedText
    place: int = 0
    num_steps: int = 0
    num_draft_tokens: int = 0
    num_accepted_tokens: int = 0

    @property
    def num_tokens(self) -> int:
        """Prompt and written tokens."""
        return self.text.context + self.place

    @property
    def room(self) -> int:
        """Draft tokens that are of use here; the last token needs none."""
        return len(self.text) - self.place - 1

    @property
    def found(self) -> int:
        """Tokens of use that a draft would have here."""
        return min(int(self.text.found[self.place]), self.room)

    @property
    def stood(self) -> int:
        """Those that would stand."""
        return min(int(self.text.stood[self.place]), self.room)

    def verify(self, drafted: int) -> int:
        """Write one step's tokens; return how many of its draft tokens stood."""
        accepted = min(drafted, self.stood)
        self.place += accepted + 1
        self.num_steps += 1
        self.num_draft_tokens += drafted
        self.num_accepted_tokens += accepted
        return accepted


class ReplayClock:
    """Seconds that pass only as something replayed takes them."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        """Return the seconds so far."""
        return self.seconds


class TracedDrafts:
    """The traced method's drafts, at a profile's costs; see `Drafting`.

    Args:
        costs: of drafting; rows are the draft length.
        clock: what drafting and reading take passes on it.
        extrapolate: price what was not measured too.
    """

    def __init__(self, costs: CostSurface, clock: ReplayClock, extrapolate: bool) -> None:
        self._costs = costs
        self._clock = clock
        self._extrapolate = extrapolate
        self._unread: dict[str, int] = {}  # rows of each text that the drafter has put off
        self.streams: Sequence[Stream] = ()
        self.context = 0.0

    def begin(self, streams: Sequence[Stream]) -> None:
        """Draft for these streams from now on."""
        self.streams = streams
        self.context = sum(stream.num_tokens for stream in streams) / len(streams)

    def look_up(self, method: str) -> list[Found | None]:
        """Return what a lookup finds for each stream."""
        found = [_found(stream) for stream in self.streams]
        self._take(len(found), max(each.depth if each else 0 for each in found))
        return found

    def draft(self, method: str, places: Sequence[int], lengths: Sequence[int]) -> list[int]:
        """Return how far drafts go, of so many tokens at most."""
        sizes = [min(n, self.streams[i].found) for i, n in zip(places, lengths, strict=True)]
        self._take(len(sizes), max(sizes))
        return sizes

    def _take(self, requests: int, longest: int) -> None:
        rows = max(longest, self._costs.rows[0])
        self._clock.seconds += self._costs.seconds(requests, rows, self.context, self._extrapolate)

    def num_deferred(self, method: str, places: Sequence[int]) -> int:
        """Return the rows of some streams that the drafter has put off reading."""
        return sum(self._unread.get(self.streams[i].text.name, 0) for i in places)

    def catch_up(self, method: str, places: Sequence[int]) -> None:
        """Read what was put off of some streams."""
        self._read([self.streams[i].text.name for i in places])

    def observe(self, rows: Mapping[str, int], defers: bool) -> None:
        """See so many rows of each text that ran, or put that off.

        What reading them takes at once is in the costs of drafting, or of the prompt; whoever reads
        has to read first what was put off of the same texts.
        """
        if not defers:
            self._read(list(rows))
            return
        for name, count in rows.items():
            self._unread[name] = min(self._unread.get(name, 0) + count, UNREAD_ROWS)

    def _read(self, names: Sequence[str]) -> None:
        if rows := sum(self._unread.pop(name, 0) for name in names):
            token = self._costs.seconds(1, self._costs.rows[0], self.context, True)
            self._clock.seconds += reading_seconds(token, rows)

    def forget(self, name: str) -> None:
        """Forget a text that ended."""
        self._unread.pop(name, None)


def _found(stream: Stream) -> Found | None:
    """Return a lookup's draft that begins where a stream is; the text's end does not cut it."""
    begin, size = stream.num_tokens, int(stream.text.found[stream.place])
    stands = min(int(stream.text.stood[stream.place]), size)
    return Found(size, size, lambda place: min(stands, place - begin)) if size else None
