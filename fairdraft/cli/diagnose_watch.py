"""A server watched: its figures of the last stretch and of all kept ones, and what to do."""

from __future__ import annotations

import time
from collections import deque

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from fairdraft.cli.diagnose_figures import rows
from fairdraft.cli.outputs import fold
from fairdraft.economics.planning.case import Case, judge
from fairdraft.errors import ReadingError, RestartError
from fairdraft.peers import Reading
from fairdraft.peers.servers import Server
from fairdraft.peers.windows import join

SHOWN = (
    "tokens/s",
    "requests running",
    "requests waiting",
    "KV usage",
    "preemptions",
    "step",
    "steps with a draft",
    "k",
    "stand, by position",
    "tokens a step",
)
KEPT = 360  # windows that the verdict rests on: an hour of them at 10 s


class Stretch:
    """A server's last windows, which begin anew where it was restarted.

    Args:
        url: of the server.

    Raises:
        ReadingError: as `Server`.
    """

    def __init__(self, url: str) -> None:
        self.server = Server(url)
        self.windows: deque[Reading] = deque(maxlen=KEPT)

    def tick(self) -> str:
        """Read one more window; return why there is none, or nothing."""
        try:
            self.windows.append(self.server.read())
        except ReadingError as error:
            if isinstance(error, RestartError):
                self.windows.clear()
            return str(error)
        return ""

    @property
    def whole(self) -> Reading | None:
        """All kept windows together; None before the first."""
        if not self.windows:
            return None
        notes = dict.fromkeys(note for each in self.windows for note in each.notes)
        return join(list(self.windows), self.server.name, tuple(notes))


class Watch:
    """A server with speculation that is asked until Ctrl-C.

    Args:
        url: of the server.
        plain: the run without speculation: a reading, another server's address, or None.

    Raises:
        ReadingError: a server cannot be reached at the start, or is none that is known.
    """

    def __init__(self, url: str, plain: Reading | str | None) -> None:
        self._on = Stretch(url)
        self._off = Stretch(plain) if isinstance(plain, str) else None
        self._plain = None if isinstance(plain, str) else plain
        self._trouble = ""

    def run(self, seconds: float, console: Console) -> None:
        """Ask every so many seconds and show what came out, until Ctrl-C.

        A terminal shows a table that changes in place; what is no terminal gets a line a window.
        """
        wait = f"{self._on.server.name}, every {seconds:g} s. Ctrl-C ends it."
        try:
            if not console.is_terminal:
                console.print(wait, markup=False, highlight=False, soft_wrap=True)
                while True:
                    time.sleep(seconds)
                    self._tick()
                    console.print(self._line(), markup=False, highlight=False, soft_wrap=True)
            with Live(Text(wait), console=console, auto_refresh=False, transient=True) as live:
                while True:
                    time.sleep(seconds)
                    self._tick()
                    live.update(self._table(console.width, wait), refresh=True)
        except KeyboardInterrupt:
            if self.case() is None:
                console.print(f"Nothing to judge yet. {self._trouble}", markup=False)

    def case(self) -> Case | None:
        """Return what can be said by now; None before anything was drafted."""
        on = self._on.whole
        if on is None:
            return None
        off = self._plain if self._off is None else self._off.whole
        try:
            return judge(on, off)
        except ReadingError as error:
            self._trouble = str(error)
            return None

    def _tick(self) -> None:
        troubles = [stretch.tick() for stretch in (self._on, self._off) if stretch is not None]
        self._trouble = " ".join(filter(None, troubles))

    def _advice(self) -> list[str]:
        """Return the verdict with its advice, or why there is none; then what went wrong."""
        case = self.case()
        said = [] if case is None else [f"{case.verdict[-1]} {case.advice[-1]}"]
        return [*said, *filter(None, [self._trouble])]

    def _line(self) -> str:
        if self._trouble or not self._on.windows:
            return f"{_now()}  {self._trouble}"
        told = [f"{name} {cell}" for name, (cell,) in rows([self._on.windows[-1]], SHOWN)]
        return f"{_now()}  {'; '.join(told)}. {' '.join(self._advice())}"

    def _table(self, width: int, wait: str) -> Group:
        whole = self._on.whole
        parts: list[Table | Text] = [Text(wait)]
        if whole is not None:
            case, last = self.case(), self._on.windows[-1]
            table = Table(box=None, pad_edge=False)
            for column in ("", "last window", f"last {len(self._on.windows)}"):
                table.add_column(column, justify="right" if column else "left")
            found = None if case is None else case.found
            for name, cells in rows([last, whole], SHOWN):
                table.add_row(name, *cells)
            if found is not None:
                table.add_row("break-even, tokens a step", "", f"{found.break_even:.2f}")
            parts.append(table)
        parts += [Text(fold(sentence, width)) for sentence in self._advice()]
        return Group(*parts)


def _now() -> str:
    return time.strftime("%H:%M:%S")
