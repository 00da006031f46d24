"""SGLang's flags, as its server arguments name them (its page "Speculative Decoding")."""

from __future__ import annotations

import shlex

from fairdraft.peers.drafting import Drafting

METHODS = {
    "ngram": "NGRAM",
    "draft_model": "STANDALONE",
    "eagle": "EAGLE",
    "eagle3": "EAGLE3",
    "mtp": "EAGLE",  # heads of the target's own checkpoint
    "dflash": "DFLASH",
}
NAME, OFF = "SGLang", "start it without --speculative-algorithm"


def flags(drafting: Drafting) -> str:
    """Return the words behind `python -m sglang.launch_server`, for one draft length."""
    k = drafting.static_k
    words = ["--speculative-algorithm", METHODS[drafting.method]]
    if drafting.drafter is not None and drafting.needs_checkpoint:
        words += ["--speculative-draft-model-path", drafting.drafter]
    if drafting.method == "ngram":  # one branch: a chain
        words += ["--speculative-ngram-max-bfs-breadth", "1"]
    elif drafting.method != "dflash":
        words += ["--speculative-num-steps", str(k), "--speculative-eagle-topk", "1"]
    # The token before the draft is counted in.
    return shlex.join([*words, "--speculative-num-draft-tokens", str(k + 1)])


def draft_length(drafting: Drafting) -> int:
    """Return the draft length it would be started with; 0 is off."""
    return drafting.static_k
