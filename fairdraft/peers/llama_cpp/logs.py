"""Logs of llama-server, llama-cli and llama-speculative."""

from __future__ import annotations

import re

from fairdraft.errors import ReadingError
from fairdraft.peers.base import DECIMAL, Reading
from fairdraft.peers.llama_cpp.totals import Totals

EVAL = re.compile(
    rf"^(?!.*prompt eval time).*\beval time =\s*(?P<ms>{DECIMAL}) ms /"
    r"\s*(?P<tokens>\d+) (?:tokens|runs)",
    re.MULTILINE,
)
DRAFTS = re.compile(
    r"draft acceptance(?: rate)? = [\d.]+ \(\s*(?P<accepted>\d+) accepted /\s*(?P<drafted>\d+) "
    rf"generated\)(?:, mean (?:len|acceptance length) =\s*(?P<length>{DECIMAL}))?"
    rf"(?:, acceptance rate per position = \((?P<rates>{DECIMAL}(?:, {DECIMAL})*)\))?"
)


def read_log(text: str, source: str) -> list[Reading] | None:
    """Read the log of llama-server, llama-cli or llama-speculative, all requests together.

    Returns:
        None if it is no such log.

    Raises:
        ReadingError: it has drafts but no eval time, or there is nothing to time.
    """
    evals, drafts = list(EVAL.finditer(text)), list(DRAFTS.finditer(text))
    if not evals and not drafts:
        return None
    if not evals:
        raise ReadingError(
            f"{source!r} has 'draft acceptance' but no 'eval time' lines: give the whole log"
        )
    totals = Totals(
        sum(float(line["ms"]) for line in evals),
        sum(int(line["tokens"]) for line in evals),
        len(evals),
    )
    for line in drafts:
        rates = [float(rate) for rate in (line["rates"] or "").split(",") if rate]
        length = float(line["length"] or 0)
        totals.add_drafts(int(line["drafted"]), int(line["accepted"]), length, rates)
    return totals.reading(source)
