"""Any transformers causal LM over flat batches with paged KV."""

from fairdraft.models.attention import PagedAttention
from fairdraft.models.base import Runner
from fairdraft.models.batch import FlatBatch, RunOutput, ancestor_mask
from fairdraft.models.checkpoints import load_checkpoint
from fairdraft.models.cpu.linear import kernel_fits, product, speed_up
from fairdraft.models.early_exit import EarlyExit
from fairdraft.models.runner import ModelRunner, final_norm, target_layers

__all__ = [
    "EarlyExit",
    "FlatBatch",
    "ModelRunner",
    "PagedAttention",
    "RunOutput",
    "Runner",
    "ancestor_mask",
    "final_norm",
    "kernel_fits",
    "load_checkpoint",
    "product",
    "speed_up",
    "target_layers",
]
