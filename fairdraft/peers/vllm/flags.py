"""vLLM's flags, as of vLLM 0.32.

Sources: `vllm/config/speculative.py`, `vllm/v1/spec_decode/dynamic/utils.py`.
"""

from __future__ import annotations

import json
import shlex

from fairdraft.peers.drafting import Drafting, speculative_config

METHODS = ("ngram", "suffix", "draft_model", "eagle", "eagle3", "medusa", "mtp", "dflash")
NAME, OFF = "vLLM", "start it without --speculative-config"


def flags(drafting: Drafting) -> str:
    """Return the words behind `vllm serve MODEL`; the draft length follows the load."""
    return f"--speculative-config {shlex.quote(json.dumps(speculative_config(drafting)))}"


def draft_length(drafting: Drafting) -> int:
    """Return the longest draft it would be started with; 0 is off."""
    return drafting.longest
