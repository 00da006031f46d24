"""A profile: what steps cost on one machine, for one target and its drafters.

A step with drafts takes step(B, 1 + k, L) + draft(B, k, L) seconds; the two are measured apart, for
c and λ cannot be told from each other end to end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairdraft.economics.costs.cost_surface import CostSurface, points_of, record_of
from fairdraft.economics.equations.cost import Roofline
from fairdraft.errors import ConfigError
from fairdraft.peers.base import parse_json

FloatArray = NDArray[np.float64]
KIND = "fairdraft profile"
HARDWARE = ("cpu", "cores", "threads", "gpu")  # of the environment; what must be the same


@dataclass(frozen=True)
class Profile:
    """Costs of steps and drafts, measured on one machine for one target.

    Args:
        model: as the user named it, or a shipped shape.
        dtype: of the weights.
        environment: hardware, versions and moment, as `benchmark_environment` gives it.
        step: seconds of a whole step but for drafting; rows are 1 + drafts of each request.
        run: of these, the target's run alone.
        drafters: by method, seconds to make drafts; rows are the draft length of each request.
        prefill: seconds of a step that reads so many prompt tokens of 1 request; context is the
            tokens before them. In older files it is their own number, and no chunk begins late.
        weight_bytes: read by a run.
        parameters: multiplied once a token.
        kv_bytes: of one token of context.
        reading: by method, seconds in which the drafter reads so many prompt tokens of 1 request;
            older files have none.
    """

    model: str
    dtype: str
    environment: Mapping[str, Any]
    step: CostSurface
    run: CostSurface
    drafters: Mapping[str, CostSurface] = field(default_factory=dict)
    prefill: CostSurface | None = None
    weight_bytes: int = 0
    parameters: int = 0
    kv_bytes: int = 0
    reading: Mapping[str, CostSurface] = field(default_factory=dict)

    def drafter(self, method: str) -> CostSurface:
        """Return a method's drafting costs.

        Raises:
            ConfigError: it was not profiled.
        """
        if method not in self.drafters:
            known = ", ".join(self.drafters) or "none"
            raise ConfigError(
                f"method {method!r} is not in the profile (drafters there: {known}): profile it "
                "with --methods"
            )
        return self.drafters[method]

    def seconds(
        self,
        method: str | None,
        k: float,
        requests: float,
        context: float,
        extrapolate: bool = False,
    ) -> float:
        """Return seconds of a step with k drafts a request, drafting included.

        Args:
            method: who drafts; None, like k = 0, is a step without speculation.
            k: draft length; a mean, where requests differ.
            requests: side by side; likewise.
            context: tokens of each; likewise.
            extrapolate: go on in a straight line beyond what was measured.

        Raises:
            ConfigError: it was not measured, and `extrapolate` is False.
        """
        found = self.step.seconds(requests, 1 + k, context, extrapolate)
        if method is not None and k > 0:
            found += self.drafter(method).seconds(requests, k, context, extrapolate)
        return found

    def costs(
        self, method: str, k: int, requests: int, context: float, extrapolate: bool = False
    ) -> FloatArray:
        """Return T(0) … T(k), seconds of a step in plain steps: [k + 1]."""
        times = [self.seconds(method, i, requests, context, extrapolate) for i in range(k + 1)]
        return np.array(times) / times[0]

    def draft_cost(self, method: str, requests: int, context: float) -> float:
        """Return c, what one more draft token of every request costs, in plain steps.

        The slope over the measured draft lengths; what drafting costs at all stays out of it.
        """
        surface = self.drafter(method)
        plain = self.step.seconds(requests, 1, context)
        first, last = surface.rows[0], surface.rows[-1]
        if first == last:
            return surface.seconds(requests, last, context) / last / plain
        low, high = (surface.seconds(requests, rows, context) for rows in (first, last))
        return (high - low) / (last - first) / plain

    def verify_growth(self, requests: int, context: float) -> float:
        """Return λ, what one more row of every request adds to a step, in plain steps: a mean."""
        first, last = self.step.rows[0], self.step.rows[-1]
        if first == last:
            return 0.0
        low, high = (self.step.seconds(requests, rows, context) for rows in (first, last))
        return (high - low) / (last - first) / self.step.seconds(requests, 1, context)

    def knee(self, context: float) -> float | None:
        """Return the rows from which on a run takes twice what the smallest does, or None.

        All requests' rows together, in order of their number, whichever requests they are of.
        """
        one = self.run.seconds(self.run.requests[0], self.run.rows[0], context)
        totals = sorted(
            (b * n, self.run.seconds(b, n, context))
            for b in self.run.requests
            for n in self.run.rows
            if self.run.covers(b, n, context)
        )
        before = (totals[0][0], one)
        for rows, seconds in totals:
            if seconds >= 2 * one:
                share = (2 * one - before[1]) / max(seconds - before[1], 1e-12)
                return before[0] + share * (rows - before[0])
            before = (rows, seconds)
        return None

    @property
    def bandwidth(self) -> float:
        """Bytes of weights a second that the smallest run reads: the machine has at least these."""
        first = self.run
        shortest = first.seconds(first.requests[0], first.rows[0], first.contexts[0])
        return self.weight_bytes / shortest

    def roofline(self, bandwidth: float, flops: float, attention_size: float = 0.0) -> Roofline:
        """Return the model's roofline on a machine of these figures (bytes/s, operations/s)."""
        return Roofline(
            bandwidth, flops, self.weight_bytes, self.parameters, self.kv_bytes, attention_size
        )

    def require_hardware(self, environment: Mapping[str, Any], where: str = "here") -> None:
        """Refuse a profile of another machine.

        Args:
            environment: of the machine; what it does not hold is not compared.
            where: that machine is, for the message.

        Raises:
            ConfigError: it differs in CPU, cores, threads or GPU; the message says in what.
        """
        for name in (each for each in HARDWARE if each in environment):
            theirs, ours = self.environment.get(name), environment[name]
            if theirs != ours:
                raise ConfigError(
                    f"the profile was taken where {name} is {theirs!r}, and {where} it is "
                    f"{ours!r}: profile that machine, or pass --force to use it all the same"
                )

    def to_json(self) -> dict[str, Any]:
        """Return the profile as JSON for a file."""

        def listed(surface: CostSurface) -> list[dict[str, Any]]:
            return [record_of(point) for point in surface.points]

        return {
            "kind": KIND,
            "model": self.model,
            "dtype": self.dtype,
            "environment": dict(self.environment),
            "weight_bytes": self.weight_bytes,
            "parameters": self.parameters,
            "kv_bytes": self.kv_bytes,
            "step": listed(self.step),
            "run": listed(self.run),
            "drafters": {name: listed(surface) for name, surface in self.drafters.items()},
            "prefill": listed(self.prefill) if self.prefill else [],
            "reading": {name: listed(surface) for name, surface in self.reading.items()},
        }

    @classmethod
    def load(cls, path: str | Path) -> Profile:
        """Read a file that `fairdraft profile` wrote.

        Raises:
            ConfigError: it is not there, is no profile, or is broken.
        """
        try:
            report = parse_json(Path(path).read_text("utf-8"))
        except OSError as error:
            raise ConfigError(
                f"the profile {str(path)!r} cannot be read ({error.strerror}): make one with "
                "`fairdraft profile`"
            ) from None
        except ValueError:
            report = None
        if not isinstance(report, dict) or report.get("kind") != KIND:
            raise ConfigError(
                f"{str(path)!r} is no profile: make one with `fairdraft profile --out {path}`"
            )
        return cls.of(report, str(path))

    @classmethod
    def of(cls, report: Mapping[str, Any], name: str = "the profile") -> Profile:
        """Read a profile's JSON.

        Args:
            report: as `to_json` makes it.
            name: of the profile, for messages.

        Raises:
            ConfigError: something is missing, or is something else.
        """

        def surface(records: Sequence[dict[str, Any]]) -> CostSurface:
            return CostSurface(points_of(records, name), name)

        try:
            return cls(
                str(report["model"]),
                str(report["dtype"]),
                dict(report["environment"]),
                surface(report["step"]),
                surface(report["run"]),
                {method: surface(points) for method, points in report["drafters"].items()},
                surface(report["prefill"]) if report.get("prefill") else None,
                int(report["weight_bytes"]),
                int(report["parameters"]),
                int(report["kv_bytes"]),
                {method: surface(points) for method, points in report.get("reading", {}).items()},
            )
        except ConfigError:
            raise
        except KeyError as error:
            raise ConfigError(f"{name} lacks {error}: profile again") from None
        except (TypeError, ValueError, AttributeError, OverflowError) as error:
            raise ConfigError(f"{name} is damaged ({error}): profile again") from None
