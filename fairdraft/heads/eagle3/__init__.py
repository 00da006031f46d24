"""EAGLE-3: a decoder layer that reads three of the target's hidden states, then its own output."""

from fairdraft.heads.eagle3.files import load_eagle3, save_eagle3
from fairdraft.heads.eagle3.loss import Eagle3Training
from fairdraft.heads.eagle3.network import Eagle3Config, Eagle3Head

__all__ = ["Eagle3Config", "Eagle3Head", "Eagle3Training", "load_eagle3", "save_eagle3"]
