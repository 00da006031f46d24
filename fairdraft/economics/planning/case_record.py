"""A case as JSON, for programs."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

from fairdraft.economics.planning.case import Case, survivals
from fairdraft.economics.planning.diagnosis import Diagnosis
from fairdraft.peers.base import Reading

DERIVED = (
    "k",
    "acceptance_rate",
    "acceptance_length",
    "draft_share",
    "tokens_per_step",
    "step_time",
    "step_is_measured",
)


def case_record(case: Case) -> dict[str, Any]:
    """Return a case as JSON for a file; what a source does not say is null."""
    return {
        "kind": "fairdraft diagnosis",
        "verdict": case.verdict,
        "advice": case.advice,
        "notes": case.notes,
        "diagnosis": None if case.found is None else _diagnosis(case.found),
        "tokens_per_step": asdict(case.tokens),
        "survivals": [asdict(each) for each in survivals(case.on)],
        "windows": [asdict(each) for each in case.windows],
        "on": _reading(case.on),
        "off": None if case.off is None else _reading(case.off),
    }


def _diagnosis(found: Diagnosis) -> dict[str, Any]:
    return {
        "break_even": found.break_even,
        "length": found.length,
        "ceiling": found.ceiling,
        "speedup_of_a_request": found.speedup,
        "speedup": asdict(found.gain),
        "chance": found.chance,
        "named": [finding.name for finding in found.named],
        "findings": [asdict(finding) for finding in found.findings],
        "unknown": list(found.unknown),
    }


def _reading(reading: Reading) -> dict[str, Any]:
    """Return what was read, and what follows from it; windows are told by the case."""
    names = [each.name for each in fields(reading) if each.name != "windows"]
    return {name: getattr(reading, name) for name in (*names, *DERIVED)}
