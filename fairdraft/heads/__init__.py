"""Drafters beside a target: per kind a folder with its network, its files and how it is trained."""

from fairdraft.heads.base import Attend, Head, HeadConfig, layer_config
from fairdraft.heads.cost import HeadCost, head_cost
from fairdraft.heads.files import HeadFile, MadeFor, read_head_file
from fairdraft.heads.losses import Losses
from fairdraft.heads.registry import KINDS, HeadKind, kind_of, load_head
from fairdraft.heads.samples import Batch, Sample
from fairdraft.heads.shipped import shipped_head
from fairdraft.heads.training import HeadTraining

__all__ = [
    "KINDS",
    "Attend",
    "Batch",
    "Head",
    "HeadConfig",
    "HeadCost",
    "HeadFile",
    "HeadKind",
    "HeadTraining",
    "Losses",
    "MadeFor",
    "Sample",
    "head_cost",
    "kind_of",
    "layer_config",
    "load_head",
    "read_head_file",
    "shipped_head",
]
