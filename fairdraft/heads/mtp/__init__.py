"""MTP: a layer that the target's own checkpoint brings along."""

from fairdraft.heads.mtp.files import load_mtp, read_mtp
from fairdraft.heads.mtp.network import MTPHead

__all__ = ["MTPHead", "load_mtp", "read_mtp"]
