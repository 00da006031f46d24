"""Small networks that draft from a target's hidden states, and their files."""

from fairdraft.models.heads.eagle3 import Eagle3Config, Eagle3Head
from fairdraft.models.heads.files import HeadFile, load_eagle3, read_head_file, save_eagle3

__all__ = [
    "Eagle3Config",
    "Eagle3Head",
    "HeadFile",
    "load_eagle3",
    "read_head_file",
    "save_eagle3",
]
