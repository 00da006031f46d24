"""DFlash: layers that fill in a whole block of masked tokens in one pass."""

from fairdraft.heads.dflash.files import load_dflash, save_dflash
from fairdraft.heads.dflash.loss import DFlashTraining, unused_token
from fairdraft.heads.dflash.network import DFlashConfig, DFlashHead

__all__ = [
    "DFlashConfig",
    "DFlashHead",
    "DFlashTraining",
    "load_dflash",
    "save_dflash",
    "unused_token",
]
