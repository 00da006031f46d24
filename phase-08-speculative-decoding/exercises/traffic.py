"""The traced traffic of exercise 11: what was accepted in it, its texts, and lengths by kind."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from typing import Any

from shared import HERE

from fairdraft.economics.autopilot.draft_potential import TracedText
from fairdraft.economics.autopilot.policies import Unlearning
from fairdraft.economics.autopilot.traced_drafts import TracedDrafts
from fairdraft.economics.planning.acceptance import Acceptance
from fairdraft.telemetry import SpecCounters

Traffic = list[dict[str, Any]]


def load() -> Traffic:
    """Return the texts that `trace_traffic.py` traced, each with its kind, context and rounds."""
    texts: Traffic = json.loads((HERE / "traffic.json").read_text("utf-8"))["texts"]
    return texts


def acceptance(traffic: Traffic, method: str, kind: str) -> Acceptance:
    """Return what a method's drafts of the longest length came to on one kind."""
    counted = SpecCounters()
    for text in traffic:
        if text["kind"] == kind:
            for drafted, accepted in text[method][1:]:  # the first token comes with the prompt
                counted.record(drafted, accepted, accepted + 1)
    return Acceptance.of_counts(
        counted.num_drafts, counted.accepted_per_pos, counted.num_steps, counted.drafted_per_pos
    )


def texts(traffic: Traffic, method: str, count: int) -> list[TracedText]:
    """Return some texts, seven of code and three of chat in each ten, as a method drafted them."""
    every = len(traffic) // count
    code, chat = ([t for t in traffic if t["kind"] == kind][::every] for kind in ("code", "chat"))
    rng, order = random.Random(0), list[dict[str, Any]]()
    for i in range(count // 10):
        order += rng.sample([*code[7 * i : 7 * i + 7], *chat[3 * i : 3 * i + 3]], 10)
    return [
        TracedText.of_rounds(str(i), text["context"], text[method], text["kind"], method == "ngram")
        for i, text in enumerate(order)
    ]


class PerKind(Unlearning):
    """Draft lengths by the text's kind, which a router knows of each request.

    Args:
        by_kind: draft lengths; 0 is off.
    """

    def __init__(self, by_kind: Mapping[str, int]) -> None:
        super().__init__()
        self.by_kind = by_kind

    def lengths(self, drafts: TracedDrafts) -> list[int]:
        """Have drafted for each stream what its kind gets."""
        found = [self.by_kind[stream.text.kind] for stream in drafts.streams]
        if places := [i for i, length in enumerate(found) if length]:
            made = drafts.draft("", places, [found[i] for i in places])
            for i, length in zip(places, made, strict=True):
                found[i] = length
        return found
