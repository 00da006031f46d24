"""What steps cost here: the engine's own, timed over requests, rows and context."""

from fairdraft.profiling.measure import WARM_UP, ProfileGrid, Profiler, profile_model
from fairdraft.profiling.shapes import SHAPES, build_shape
from fairdraft.profiling.steps import Filler

__all__ = ["SHAPES", "WARM_UP", "Filler", "ProfileGrid", "Profiler", "build_shape", "profile_model"]
