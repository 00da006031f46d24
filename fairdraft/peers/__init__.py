"""Other engines, and fairdraft itself, as seen from outside: their files, and their flags.

Logs, metrics pages and benchmark files become a `Reading`: counts and speeds over a stretch of
serving. `flags` makes the line that starts an engine. A folder an engine.
"""

from fairdraft.peers.base import Reading
from fairdraft.peers.files import read, read_all
from fairdraft.peers.metrics import read_metrics
from fairdraft.peers.servers import scrape
from fairdraft.peers.vllm.sweep import read_sweep

__all__ = ["Reading", "read", "read_all", "read_metrics", "read_sweep", "scrape"]
