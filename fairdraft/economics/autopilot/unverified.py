"""What lookups found, judged by the text that follows, however much of it was verified.

A lookup's draft was chosen, not drawn: to compare it with what was written is lossless, and tells
what it would have been worth.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from fairdraft.economics.autopilot.pilot import Controller


@dataclass(frozen=True)
class Shadow:
    """A lookup's draft that waits for the text to judge it.

    Args:
        method, kind: whose, and of what kind.
        begin: place of its first token in the text.
        drafted: tokens.
        stood: of them, those that the text has confirmed up to a place.
    """

    method: str
    kind: Hashable
    begin: int
    drafted: int
    stood: Callable[[int], int]


class Shadows:
    """Of all requests.

    Args:
        controller: learns the verdicts.
    """

    def __init__(self, controller: Controller) -> None:
        self.controller = controller
        self._waiting: defaultdict[str, list[Shadow]] = defaultdict(list)
        self._right: dict[str, set[str]] = {}  # methods whose last draft agrees with the text

    def add(self, request_id: str, shadow: Shadow) -> None:
        """A lookup found something."""
        self._waiting[request_id].append(shadow)

    def right(self, request_id: str, method: str) -> bool:
        """Whether the method was right when it last found something: the text got no further than
        its draft, or than the bonus token behind one that stood whole."""
        return method in self._right.get(request_id, ())

    def judge(self, request_id: str, place: int) -> None:
        """The text has so many tokens: note what is settled."""
        right, waiting = set(), []
        for shadow in self._waiting.pop(request_id, ()):
            stood = shadow.stood(place)
            whole = stood == shadow.drafted
            left = place - shadow.begin - stood  # tokens that it did not foresee
            if left <= whole:
                right.add(shadow.method)
            if left or whole:
                self._record(request_id, shadow, shadow.drafted, stood)
            else:
                waiting.append(shadow)
        self._right[request_id] = right
        if waiting:
            self._waiting[request_id] = waiting

    def finish(self, request_id: str, place: int) -> None:
        """The text ended there: what waits was right as far as the text goes."""
        self.judge(request_id, place)
        for shadow in self._waiting.pop(request_id, ()):
            if stood := shadow.stood(place):
                self._record(request_id, shadow, stood, stood)
        del self._right[request_id]

    def _record(self, request_id: str, shadow: Shadow, drafted: int, stood: int) -> None:
        self.controller.record(shadow.method, request_id, shadow.kind, drafted, stood)
