"""Small networks that draft from a target's hidden states, and their files."""

from fairdraft.models.heads.base import Attend, Head, HeadConfig, layer_config
from fairdraft.models.heads.cost import HeadCost, head_cost
from fairdraft.models.heads.dflash import DFlashConfig, DFlashHead
from fairdraft.models.heads.dflash_files import load_dflash, save_dflash
from fairdraft.models.heads.eagle import EagleHead, load_eagle, save_eagle
from fairdraft.models.heads.eagle3 import Eagle3Config, Eagle3Head
from fairdraft.models.heads.eagle3_files import load_eagle3, save_eagle3
from fairdraft.models.heads.files import HeadFile, read_head_file
from fairdraft.models.heads.medusa import MedusaConfig, MedusaHead, load_medusa, save_medusa
from fairdraft.models.heads.pruned import is_pruned, load_pruned, prune, save_pruned, target_ids
from fairdraft.models.heads.shipped import shipped_head

__all__ = [
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
    "MedusaConfig",
    "MedusaHead",
    "head_cost",
    "is_pruned",
    "layer_config",
    "load_dflash",
    "load_eagle",
    "load_eagle3",
    "load_medusa",
    "load_pruned",
    "prune",
    "read_head_file",
    "save_dflash",
    "save_eagle",
    "save_eagle3",
    "save_medusa",
    "save_pruned",
    "shipped_head",
    "target_ids",
]
