"""Small networks that draft from a target's hidden states, and their files."""

from collections.abc import Callable
from typing import Any

from fairdraft.heads.base import Attend, Head, HeadConfig, layer_config
from fairdraft.heads.cost import HeadCost, head_cost
from fairdraft.heads.dflash.files import load_dflash, save_dflash
from fairdraft.heads.dflash.network import DFlashConfig, DFlashHead
from fairdraft.heads.draft_model.network import (
    cut_mlps,
    is_pruned,
    load_pruned,
    prune,
    save_pruned,
    target_ids,
)
from fairdraft.heads.eagle.network import EagleHead, load_eagle, save_eagle
from fairdraft.heads.eagle3.files import load_eagle3, save_eagle3
from fairdraft.heads.eagle3.network import Eagle3Config, Eagle3Head
from fairdraft.heads.files import HeadFile, read_head_file
from fairdraft.heads.medusa.network import MedusaConfig, MedusaHead, load_medusa, save_medusa
from fairdraft.heads.mtp.network import MTPHead, load_mtp, read_mtp
from fairdraft.heads.shipped import shipped_head

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
