"""Medusa: heads on the last hidden state, one for each token ahead."""

from fairdraft.heads.medusa.files import count_heads, load_medusa, save_medusa
from fairdraft.heads.medusa.loss import MedusaTraining
from fairdraft.heads.medusa.network import MedusaConfig, MedusaHead

__all__ = [
    "MedusaConfig",
    "MedusaHead",
    "MedusaTraining",
    "count_heads",
    "load_medusa",
    "save_medusa",
]
