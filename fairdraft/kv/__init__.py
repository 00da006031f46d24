"""Paged KV: who owns which block, what a block holds, and where the numbers lie."""

from fairdraft.kv.manager import KVManager
from fairdraft.kv.pool import BlockPool
from fairdraft.kv.storage import KVStorage, LayerShape

__all__ = ["BlockPool", "KVManager", "KVStorage", "LayerShape"]
