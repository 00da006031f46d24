"""EAGLE: a small trained layer writes the target's last hidden state on, and its head reads it."""

from __future__ import annotations

from fairdraft.heads import load_eagle
from fairdraft.proposers.heads.recurrent import RecurrentProposer


class EagleProposer(RecurrentProposer):
    """Drafts with an EAGLE head, in chains or in EAGLE-2's trees (`draft_tree_top_k` above 1).

    Files are the original project's; arguments as in `HeadProposer`.
    """

    kind = "eagle"
    load = staticmethod(load_eagle)
