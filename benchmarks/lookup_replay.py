"""Lookup proposers along texts that are known, without a model."""

from __future__ import annotations

from fairdraft import SamplingParams
from fairdraft.draft import Draft
from fairdraft.proposers import Proposer
from fairdraft.request import Request
from fairdraft.sampling.sampler import DraftNoise
from fairdraft.telemetry import SpecCounters
from fairdraft.verification import match

NOISE = DraftNoise()


def replay_text(proposer: Proposer, name: str, prompt: list[int], text: list[int]) -> SpecCounters:
    """Draft and accept along a text: exact, for greedy acceptance depends on the text alone.

    Args:
        proposer: one that needs no model.
        name: of the request.
        prompt, text: token ids.
    """
    request = Request(name, tuple(prompt), SamplingParams())
    proposer.start(request)
    request.token_ids.append(text[0])
    counters = SpecCounters()
    while request.num_output_tokens < len(text):
        left = text[request.num_output_tokens :]
        (draft,) = proposer.propose([request], [proposer.num_speculative_tokens], [()], NOISE)
        accepted = num_standing(draft, left[:-1])
        request.token_ids.extend(left[: accepted + 1])
        counters.record(len(draft), accepted, accepted + 1, draft.depths[1:])
    proposer.finish(name)
    return counters


def num_standing(draft: Draft, text: list[int]) -> int:
    """Return how many tokens of a draft stand where the target goes on with `text`."""

    def own(row: int) -> int:
        depth = draft.depths[row]
        return text[depth] if depth < len(text) else -1

    return match(draft, own).num_accepted
