"""Draft models cut out of their target."""

from fairdraft.heads.draft_model.files import load_pruned, save_pruned
from fairdraft.heads.draft_model.loss import DraftModelTraining
from fairdraft.heads.draft_model.network import prune, target_ids

__all__ = ["DraftModelTraining", "load_pruned", "prune", "save_pruned", "target_ids"]
