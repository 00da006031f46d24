"""Any transformers causal LM over flat batches with paged KV."""

from fairdraft.models.batch import FlatBatch, RunOutput
from fairdraft.models.checkpoints import load_checkpoint
from fairdraft.models.runner import ModelRunner, Runner

__all__ = ["FlatBatch", "ModelRunner", "RunOutput", "Runner", "load_checkpoint"]
