"""Small networks that draft from a target's hidden states, and their files."""

from collections.abc import Callable
from typing import Any

from fairdraft.models.heads.base import Attend, Head, HeadConfig, layer_config
from fairdraft.models.heads.cost import HeadCost, head_cost
from fairdraft.models.heads.dflash import DFlashConfig, DFlashHead
from fairdraft.models.heads.dflash_files import load_dflash, save_dflash
from fairdraft.models.heads.eagle import EagleHead, load_eagle, save_eagle
from fairdraft.models.heads.eagle3 import Eagle3Config, Eagle3Head
from fairdraft.models.heads.eagle3_files import load_eagle3, save_eagle3
from fairdraft.models.heads.files import HeadFile, read_head_file
from fairdraft.models.heads.medusa import MedusaConfig, MedusaHead, load_medusa, save_medusa
from fairdraft.models.heads.mtp import MTPHead, load_mtp, read_mtp
from fairdraft.models.heads.pruned import (
    cut_mlps,
    is_pruned,
    load_pruned,
    prune,
    save_pruned,
    target_ids,
)
from fairdraft.models.heads.shipped import shipped_head

# Method → what makes its network of a file and a transformers model.
LOADERS: dict[str, Callable[[HeadFile, Any], Any]] = {
    "eagle": load_eagle,
    "eagle3": load_eagle3,
    "medusa": load_medusa,
    "dflash": load_dflash,
    "draft_model": load_pruned,
}

__all__ = [
    "LOADERS",
    "Attend",
    "DFlashConfig",
    "DFlashHead",
    "Eagle3Config",
    "Eagle3Head",
    "EagleHead",
    "Head",
    "HeadConfig",
    "HeadCost",
    "HeadFile",
    "MTPHead",
    "MedusaConfig",
    "MedusaHead",
    "cut_mlps",
    "head_cost",
    "is_pruned",
    "layer_config",
    "load_dflash",
    "load_eagle",
    "load_eagle3",
    "load_medusa",
    "load_mtp",
    "load_pruned",
    "prune",
    "read_head_file",
    "read_mtp",
    "save_dflash",
    "save_eagle",
    "save_eagle3",
    "save_medusa",
    "save_pruned",
    "shipped_head",
    "target_ids",
]
