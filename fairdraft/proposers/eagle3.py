"""EAGLE-3: a small trained layer drafts from what three of the target's layers know."""

from __future__ import annotations

from fairdraft.heads import load_eagle3
from fairdraft.proposers.heads.recurrent import RecurrentProposer


class Eagle3Proposer(RecurrentProposer):
    """Drafts with an EAGLE-3 head, in chains or in EAGLE-2's trees (`draft_tree_top_k` above 1).

    Files are in the "speculators" format or raw; arguments as in `HeadProposer`.
    """

    kind = "eagle3"
    load = staticmethod(load_eagle3)
