"""Which words were drafted: a stream of text in three kinds."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from itertools import groupby
from operator import itemgetter
from typing import Any

from rich import box
from rich.color import ColorSystem
from rich.console import Console
from rich.style import Style
from rich.table import Table
from rich.text import Text

from fairdraft.outputs import StreamEvent
from fairdraft.telemetry import SpecCounters


class Kind(Enum):
    """Where a piece of text comes from; the value is the style that shows it."""

    TARGET = Style.null()
    ACCEPTED = Style.parse("green")
    REJECTED = Style.parse("red strike")  # shown for the curious; never part of the output


Piece = tuple[Kind, str]


class Painter:
    """Splits the text of one completion by who said it.

    An event's text and its tokens need not match: half a character, or what may become a stop
    string, is held back and comes with a later event. The painter therefore queues who said how
    many characters, and takes the characters themselves from the events alone: without the
    rejected pieces the text is exactly the output's, whatever the tokens decode to.

    Args:
        tokenizer: the target's.
        skip_special_tokens: as in the request's `SamplingParams`.
    """

    def __init__(self, tokenizer: Any, skip_special_tokens: bool = True) -> None:
        from tokenizers.decoders import DecodeStream

        self._tokenizer = tokenizer
        self._stream = DecodeStream(skip_special_tokens=skip_special_tokens)
        self._queue: deque[Piece] = deque()

    def pieces(self, event: StreamEvent) -> Iterator[Piece]:
        """The text an event adds, in order, and the drafts that fell where they fell."""
        self._enqueue(event)
        text = event.text
        while self._queue:
            kind, said = self._queue.popleft()
            if kind is Kind.REJECTED:
                yield kind, said
                continue
            if text:
                yield kind, text[: len(said)]
            if len(said) > len(text):
                self._queue.appendleft((kind, said[len(text) :]))
                return
            text = text[len(said) :]
        if text:
            yield Kind.TARGET, text

    def _enqueue(self, event: StreamEvent) -> None:
        for i, token in enumerate(event.token_ids):
            if i == event.num_accepted < len(event.draft_token_ids):
                rejected = list(event.draft_token_ids[i:])
                said = str(self._tokenizer.decode(rejected)).replace("\n", "↵")
                self._queue.append((Kind.REJECTED, said))
            kind = Kind.ACCEPTED if i < event.num_accepted else Kind.TARGET
            said = self._stream.step(self._tokenizer.backend_tokenizer, token) or ""
            self._queue.append((kind, said))


def can_colour(console: Console) -> bool:
    """Whether a console shows colours: a terminal, and NO_COLOR is not set."""
    return console.color_system is not None and not console.no_color


def escaped(pieces: Iterable[Piece]) -> str:
    """Pieces as text with terminal escape codes, the text itself left alone.

    Rich's own printing would wrap lines, expand tabs and drop control characters.
    """
    return "".join(
        kind.value.render("".join(said for _, said in run), color_system=ColorSystem.STANDARD)
        for kind, run in groupby(pieces, key=itemgetter(0))
    )


def rich_text(pieces: Iterable[Piece], colour: bool) -> Text:
    """Pieces for a rich table; without colour, rejected ones are left out: nothing marks them."""
    text = Text()
    for kind, said in pieces:
        if colour or kind is not Kind.REJECTED:
            text.append(said, kind.value)
    return text


def folded(names: Sequence[str], columns: Sequence[Sequence[str]], width: int) -> list[Table]:
    """A table in as many parts as a width asks for: numbers are never cut or wrapped.

    Args:
        names: the head and the cells of the first column, which every part repeats.
        columns: head and cells of the others, as long as `names`.
        width: of the terminal, in characters.

    Returns:
        At least one table; a part has at least one column of numbers, however narrow the terminal.
    """
    gap = 3  # between columns, in rich's simple box
    left = width - max(map(len, names)) - gap - 1
    parts: list[list[Sequence[str]]] = [[]]
    room = left
    for column in columns:
        needed = max(map(len, column)) + gap
        if parts[-1] and needed > room:
            parts.append([])
            room = left
        parts[-1].append(column)
        room -= needed
    tables = []
    for part in parts:
        table = Table(box=box.SIMPLE)
        table.add_column(names[0], no_wrap=True)
        for column in part:
            table.add_column(column[0], justify="right", no_wrap=True)
        for i in range(1, len(names)):
            table.add_row(names[i], *(column[i] for column in part))
        tables.append(table)
    return tables


def summary(num_tokens: int, seconds: float, counters: SpecCounters, speculating: bool) -> str:
    """The line that ends a generation: tokens, tokens/s, and what became of the drafts."""
    line = f"{num_tokens} tokens, {num_tokens / max(seconds, 1e-9):.1f} tokens/s"
    if not speculating:
        return f"{line}, no speculation"
    return (
        f"{line}, mean acceptance length {counters.mean_acceptance_length:.2f}, "
        f"acceptance rate {counters.acceptance_rate:.0%}"
    )
