"""Other engines' logs, metrics and benchmark files, as counts that economics understands."""

from fairdraft.readers.base import Reading
from fairdraft.readers.files import read, read_all
from fairdraft.readers.metrics import read_metrics, scrape
from fairdraft.readers.vllm_sweep import read_sweep

__all__ = ["Reading", "read", "read_all", "read_metrics", "read_sweep", "scrape"]
