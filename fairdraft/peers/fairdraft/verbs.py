"""The five verbs of a step, as fairdraft's files name the seconds that each took."""

from __future__ import annotations

VERBS = ("schedule", "run", "verify", "update", "propose")
