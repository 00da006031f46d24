"""What each method of a hybrid has been worth: tokens accepted, seconds spent."""

from __future__ import annotations

from collections import defaultdict, deque
from statistics import median

PRIOR_SHARE = 0.5  # of the tokens asked for that stand, before any was seen
PRIOR_TOKENS = 4.0  # so many tokens' worth of evidence is that, and a request's likeness
MEMORY = 0.998  # a draft counts this much less with each one after it: traffic changes
SAMPLES = 32  # latest times kept; their median is the cost
FIRST_SAMPLES = 3  # times before a cost is believed: the first calls compile and warm up


class Clock:
    """The median of the latest seconds."""

    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=SAMPLES)

    def add(self, seconds: float) -> None:
        """Note one time."""
        self._seconds.append(seconds)

    @property
    def seconds(self) -> float:
        """The median; 0.0 until there are enough."""
        return median(self._seconds) if len(self._seconds) >= FIRST_SAMPLES else 0.0


class Book:
    """One method's record.

    The share of the tokens asked for that stand is kept apart for short and long drafts, for a
    lookup that drafts far does so because it matched far; and per request, drawn towards
    everybody's: a request without a record is expected to do as the others do.

    Attributes:
        num_drafts: rounds verified.
        num_draft_tokens, num_accepted_tokens: in these rounds.
        clock: seconds a request's draft costs, batched with others as they were.
        idle: choices since it was last taken.
    """

    def __init__(self) -> None:
        self.num_drafts = 0
        self.num_draft_tokens = 0
        self.num_accepted_tokens = 0
        self.clock = Clock()
        self.idle = 0
        # By length class: tokens asked for and accepted, older ones faded.
        self._asked: defaultdict[int, float] = defaultdict(float)
        self._accepted: defaultdict[int, float] = defaultdict(float)
        self._of_request: dict[str, tuple[float, int]] = {}  # (expected, accepted) so far

    def expected(self, request_id: str, length: int) -> float:
        """Tokens of a draft that are expected to stand, at most `length`."""
        expected, accepted = self._of_request.get(request_id, (0.0, 0))
        likeness = (accepted + PRIOR_TOKENS) / (expected + PRIOR_TOKENS)
        return min(length * self._share(length) * likeness, length)

    def record(self, request_id: str, asked: int, drafted: int, accepted: int) -> None:
        """Note what became of a draft.

        Args:
            request_id: whose it was.
            asked: its length when the method was chosen; a drafter may have stopped before.
            drafted: tokens verified.
            accepted: of these.
        """
        expected, stood = self._of_request.get(request_id, (0.0, 0))
        expected += asked * self._share(asked)
        self._of_request[request_id] = (expected, stood + accepted)
        for fading, count in ((self._asked, asked), (self._accepted, accepted)):
            before = fading[asked.bit_length()]
            fading[asked.bit_length()] = MEMORY * before + count
        self.num_drafts += drafted > 0
        self.num_draft_tokens += drafted
        self.num_accepted_tokens += accepted

    def forget(self, request_id: str) -> None:
        """A request ended; its part in everybody's record stays."""
        self._of_request.pop(request_id, None)

    def _share(self, length: int) -> float:
        asked, accepted = (c[length.bit_length()] for c in (self._asked, self._accepted))
        return (accepted + PRIOR_SHARE * PRIOR_TOKENS) / (asked + PRIOR_TOKENS)
