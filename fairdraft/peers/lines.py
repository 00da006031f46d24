"""Lines of a log, whatever carried them: colours, carriage returns and collectors' prefixes.

Prefixes of docker, kubectl and journald stand before a line and are left alone, for readers look
for the engine's own words anywhere in it. What changes the words themselves is undone here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import date

_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_LINE = re.compile(r"[^\r\n]+")  # no other character ends one: not a form feed in a text
# An engine's own time stands last before its words; a collector's stands before it.
_TIME = re.compile(
    r"(?<![\d:.])(?:(?:(\d{4})-)?(\d\d)-(\d\d)[ T])?(\d\d):(\d\d):(\d\d)(?:[.,](\d+))?(?![\d:])"
)
_POD = re.compile(r"\[pod/[^\]]+\]|[\w.-]+ +\| ")  # kubectl --prefix; docker compose
DAY = 86400.0


def lines(text: str) -> Iterator[str]:
    """Yield a log's lines, but for empty ones, without colours and out of docker's JSON records."""
    for found in _LINE.finditer(text):
        yield _plain(found[0])


def _plain(line: str) -> str:
    if "\x1b" in line:
        line = _COLOUR.sub("", line)
    if line.startswith('{"log":'):
        try:
            return str(json.loads(line)["log"]).rstrip("\n")
        except (ValueError, RecursionError):
            return line
    return line


def time_of(line: str, before: int) -> float | None:
    """Return when a line was written, in seconds from some day on; None if it does not say.

    Args:
        line: of a log.
        before: where the engine's words begin: the last time ahead of them counts.
    """
    times = list(_TIME.finditer(line, 0, before))
    if not times:
        return None
    year, month, day, hour, minute, second, part = times[-1].groups()
    days = 0
    if month is not None:
        try:
            days = date(int(year or 2000), int(month), int(day)).toordinal()
        except ValueError:
            return None
    whole = days * DAY + int(hour) * 3600 + int(minute) * 60 + int(second)
    return whole + (float(f"0.{part}") if part else 0.0)


def pod_of(line: str) -> str:
    """Return whose line it is where a collector mixed the logs of several; else an empty string."""
    found = _POD.match(line)
    return found[0] if found else ""
