"""The argument of fairdraft's own `LLM`."""

from __future__ import annotations

import json

from fairdraft.peers.drafting import Drafting, speculative_config

METHODS = None  # whatever is installed
NAME, OFF = "fairdraft", "start it without speculative_config"


def flags(drafting: Drafting) -> str:
    """Return the keyword argument of `LLM`; the draft length follows the load."""
    return f"speculative_config={json.dumps(speculative_config(drafting))}"


def draft_length(drafting: Drafting) -> int:
    """Return the longest draft it would be started with; 0 is off."""
    return drafting.longest
