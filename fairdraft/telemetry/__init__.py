"""What happened, counted once: acceptance counters, step times, step traces."""

from fairdraft.telemetry.counters import SpecCounters, StepTimes
from fairdraft.telemetry.trace import StepTrace

__all__ = ["SpecCounters", "StepTimes", "StepTrace"]
