"""Small networks that draft from a target's hidden states, and their files."""

from fairdraft.models.heads.cost import HeadCost, head_cost
from fairdraft.models.heads.eagle3 import Eagle3Config, Eagle3Head
from fairdraft.models.heads.eagle3_files import load_eagle3, save_eagle3
from fairdraft.models.heads.files import HeadFile, read_head_file
from fairdraft.models.heads.medusa import MedusaConfig, MedusaHead, load_medusa, save_medusa

__all__ = [
    "Eagle3Config",
    "Eagle3Head",
    "HeadCost",
    "HeadFile",
    "MedusaConfig",
    "MedusaHead",
    "head_cost",
    "load_eagle3",
    "load_medusa",
    "read_head_file",
    "save_eagle3",
    "save_medusa",
]
