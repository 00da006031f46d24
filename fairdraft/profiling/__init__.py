"""What steps and drafts are worth here: steps timed, and acceptance counted, in our own engine."""

from fairdraft.profiling.acceptance import count_acceptance
from fairdraft.profiling.measure import WARM_UP, ProfileGrid, Profiler, profile_model
from fairdraft.profiling.shapes import SHAPES, build_shape
from fairdraft.profiling.steps import Filler

__all__ = [
    "SHAPES",
    "WARM_UP",
    "Filler",
    "ProfileGrid",
    "Profiler",
    "build_shape",
    "count_acceptance",
    "profile_model",
]
