"""Servers that are asked for their /metrics: twice, or again and again."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from fairdraft.errors import ReadingError
from fairdraft.peers.base import Reading
from fairdraft.peers.metrics import between, counters

if TYPE_CHECKING:
    import httpx

TIMEOUT = 10.0  # seconds, for a whole page
LONGEST = 86400.0  # seconds between two scrapes
LARGEST = 1 << 26  # bytes of a page
REMEDY = "is the server up, and does it serve /metrics there?"


class Server:
    """A server whose counters are read again and again, each time since the time before.

    Args:
        url: with or without /metrics.

    Attributes:
        name: the address, without the password that may be in it.

    Raises:
        ReadingError: it is no address, it cannot be reached, or it answers no metrics page of a
            known engine.
    """

    def __init__(self, url: str) -> None:
        self._url, self.name = _address(url)
        self._page = counters(_fetch(self._url, self.name), self.name)
        self._asked = time.perf_counter()

    def read(self) -> Reading:
        """Return what happened since the time before; a restart is told, and counted from then on.

        Raises:
            RestartError: it was restarted in between.
            ReadingError: it cannot be reached, or nothing ran.
        """
        page = counters(_fetch(self._url, self.name), self.name)
        before, self._page = self._page, page
        since, self._asked = self._asked, time.perf_counter()
        return between(before, page, self._asked - since, self.name)


def is_address(source: str) -> bool:
    """Return whether that is a server's address and not a file."""
    return source.startswith(("http://", "https://"))


def scrape(url: str, seconds: float = 10.0, sleep: Callable[[float], None] = time.sleep) -> Reading:
    """Ask a server for its /metrics twice, and read what happened in between.

    Args:
        url: with or without /metrics.
        seconds: to wait in between.
        sleep: for tests.

    Raises:
        ReadingError: the server cannot be reached, it was restarted, or nothing ran.
    """
    return scrape_all([url], seconds, sleep)[0]


def scrape_all(
    urls: Sequence[str], seconds: float = 10.0, sleep: Callable[[float], None] = time.sleep
) -> list[Reading]:
    """Ask servers twice each, all over the same stretch of time.

    Args:
        urls, seconds, sleep: as for `scrape`.

    Raises:
        ReadingError: as `scrape`, for the first one that says nothing.
    """
    require_wait(seconds)
    servers = [Server(url) for url in urls]
    if servers:
        sleep(seconds)
    return [server.read() for server in servers]


def require_wait(seconds: float) -> None:
    """Check the time between two scrapes.

    Raises:
        ReadingError: it is not above 0, or more than a day.
    """
    if not 0 < seconds <= LONGEST:
        raise ReadingError(
            f"{seconds:g} seconds between scrapes: wait more than 0, and a day at most; 10 are "
            "usual"
        )


def _address(url: str) -> tuple[str, str]:
    """Return the address of the metrics page, and the same without a password."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise ReadingError(
            f"{url!r} is no address ({error}): give http://HOST:PORT/metrics"
        ) from None
    if parts.path in ("", "/"):
        parts = parts._replace(path="/metrics")
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts), urlunsplit(parts._replace(netloc=host))


@cache
def _client() -> httpx.Client:
    """Return the one client: making one reads every certificate of the system."""
    import httpx

    return httpx.Client(timeout=TIMEOUT, follow_redirects=True)


def _fetch(url: str, name: str) -> str:
    import httpx

    content, end = bytearray(), time.monotonic() + TIMEOUT
    try:
        with _client().stream("GET", url) as answer:
            if not answer.is_success:
                raise ReadingError(
                    f"{name!r} answers {answer.status_code} {answer.reason_phrase}: {REMEDY}"
                )
            for part in answer.iter_bytes():
                content += part
                if len(content) > LARGEST or time.monotonic() > end:
                    raise ReadingError(
                        f"{name!r} does not come to an end, after {len(content)} bytes: give the "
                        "address of /metrics"
                    )
    except ReadingError:  # which is a ValueError
        raise
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise ReadingError(f"{name!r} cannot be reached ({error}): {REMEDY}") from None
    return content.decode("utf-8", errors="replace")
