"""Other engines' logs, metrics and benchmark files, as counts that economics understands."""

from fairdraft.readers.base import Reading, read

__all__ = ["Reading", "read"]
