"""llama.cpp's flags, since its pull request 22397.

That renamed --draft-max and --draft-min to --spec-draft-n-max and --spec-draft-n-min.
"""

from __future__ import annotations

import shlex

from fairdraft.peers.drafting import Drafting

METHODS = {
    "ngram": "ngram-simple",
    "draft_model": "draft-simple",
    "eagle3": "draft-eagle3",
    "mtp": "draft-mtp",
    "dflash": "draft-dflash",
}
NAME, OFF = "llama.cpp", "start it without --spec-type"


def flags(drafting: Drafting) -> str:
    """Return the words behind `llama-server`, for one draft length."""
    k = drafting.static_k
    words = ["--spec-type", METHODS[drafting.method]]
    if drafting.method == "ngram":
        return shlex.join([*words, "--spec-ngram-simple-size-m", str(k)])
    if drafting.drafter is not None and drafting.needs_checkpoint:
        words += ["--spec-draft-model", drafting.drafter]
    return shlex.join([*words, "--spec-draft-n-max", str(k), "--spec-draft-n-min", "0"])


def draft_length(drafting: Drafting) -> int:
    """Return the draft length it would be started with; 0 is off."""
    return drafting.static_k
