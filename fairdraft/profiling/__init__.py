"""What steps cost here: the engine's own, timed over requests, rows and context."""

from fairdraft.profiling.measure import Filler, ProfileGrid, profile_model
from fairdraft.profiling.shapes import SHAPES, build_shape

__all__ = ["SHAPES", "Filler", "ProfileGrid", "build_shape", "profile_model"]
