"""What llama-speculative-simple and llama-speculative print at the end of a run.

    encoded   10 tokens in    1.900 seconds, speed:    5.263 t/s
    decoded  136 tokens in   28.900 seconds, speed:    4.706 t/s

    n_draft   = 8
    n_predict = 136
    n_drafted = 112
    n_accept  = 36
    accept    = 32.143%

Every step writes what stood and one token more: steps = n_predict − n_accept, and the time of a
step is that of decoding over the steps. `n_draft` is the longest draft that was allowed. The times
of draft and target below that block are of their runs alone.
"""

from __future__ import annotations

import re
from typing import NoReturn

from fairdraft.errors import ReadingError
from fairdraft.peers.base import DECIMAL, Reading
from fairdraft.peers.lines import lines
from fairdraft.peers.llama_cpp.statistics import STATISTICS, Running
from fairdraft.peers.llama_cpp.totals import Request, reading

DRAFTED = "n_drafted = "
_DECODED = re.compile(rf"decoded\s+(\d+) tokens in\s+({DECIMAL}) seconds, speed:\s+({DECIMAL}) t/s")
_COUNT = re.compile(r"\b(n_draft|n_predict|n_drafted|n_accept) += (\d+)\s*$")
_SHARE = re.compile(rf"\baccept +=\s+({DECIMAL})%\s*$")


def read_block(text: str, source: str) -> list[Reading]:
    """Read what llama-speculative-simple prints at the end; of several runs, all together.

    Raises:
        ReadingError: a figure is missing or cut off, or they do not fit one another.
    """
    found: dict[str, float] = {}
    requests: list[Request] = []
    statistics, longest = Running(), 0.0
    for line in lines(text):
        if decoded := _DECODED.search(line):
            found = {"tokens": float(decoded[1]), "seconds": float(decoded[2])}
        elif count := _COUNT.search(line):
            found[count[1]] = float(count[2])
        elif (share := _SHARE.search(line)) is not None:
            requests.append(_run(found, float(share[1]), source))
            longest = max(longest, found["n_draft"])
            found = {}
        elif STATISTICS in line and not statistics.add(line):
            _refuse(source)
    if not requests or "n_drafted" in found:
        _refuse(source)
    return reading(requests, source, statistics.totals, max_k=longest)


def _run(found: dict[str, float], share: float, source: str) -> Request:
    names = ("tokens", "seconds", "n_draft", "n_predict", "n_drafted", "n_accept")
    if any(name not in found for name in names):
        _refuse(source)
    tokens, seconds, _, written, drafted, accepted = (found[name] for name in names)
    right = accepted / drafted if drafted else 0.0
    if tokens != written or abs(100 * right - share) > 0.001:
        _refuse(source)
    return Request(1e3 * seconds, written, drafted, accepted)


def _refuse(source: str) -> NoReturn:
    raise ReadingError(
        f"{source!r} is of llama-speculative-simple, but its block from 'decoded … tokens' to "
        "'accept = …%' is not whole, or its figures do not fit one another: give it as it was "
        "printed"
    )
