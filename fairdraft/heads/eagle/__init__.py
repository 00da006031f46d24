"""EAGLE: a decoder layer that writes the target's last hidden state on."""

from fairdraft.heads.eagle.files import load_eagle, save_eagle
from fairdraft.heads.eagle.network import EagleHead

__all__ = ["EagleHead", "load_eagle", "save_eagle"]
