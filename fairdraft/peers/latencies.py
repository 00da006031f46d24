"""What a client saw: two latencies, and what they say of steps.

Inter-token latency is seconds from a request's first token to its last over the tokens after the
first. Inter-chunk latency is seconds between two outputs that reach the client, each the tokens of
one step. Without speculation they are equal; with it chunks hold as many tokens as a step writes,
so their ratio is tokens a step, whatever the server says. Tools name them differently:

    tool                  per token                    per chunk
    vllm bench serve      TPOT                         ITL
    SGLang bench_serving  TPOT, ITL (native backend)   ITL (OpenAI backends)
    AIPerf                inter_token_latency          inter_chunk_latency
    GuideLLM              inter_token_latency_ms       that × iter_tokens_per_iteration
"""

from __future__ import annotations

from math import ceil
from typing import Any

from fairdraft.peers.base import Reading

SPECULATES = 1.1  # tokens a chunk from which on it is more than chunks put together on the way
CHUNKS = (
    "drafts are not in the file: a step is taken to be a chunk, and chunks hold {:.2f} tokens; "
    "what the network puts together counts as accepted"
)
ONE_TOKEN = (
    "drafts are not in the file, but chunks hold {:.2f} tokens, as without speculation: it is "
    "taken for a run without"
)
SEVERAL = (
    "drafts are not in the file, but chunks hold {:.2f} tokens, as with speculation or where "
    "chunks are put together: be sure that it was off"
)


def of_chunks(
    source: str,
    per_token: float,
    per_chunk: float,
    tokens: float,
    **told: Any,
) -> Reading:
    """Return the reading of a file that knows chunks and tokens, but no drafts.

    Args:
        source: for people.
        per_token: inter-token latency in seconds.
        per_chunk: inter-chunk latency in seconds.
        tokens: after each request's first.
        told: other fields of a reading.
    """
    ratio = per_chunk / per_token if per_token else 1.0
    notes = told.pop("notes", ())
    told |= {
        "step_seconds": per_chunk,
        "inter_token_seconds": per_token,
        "inter_chunk_seconds": per_chunk,
        "drafted_is_known": False,
    }
    if ratio < SPECULATES:
        return Reading(source, notes=(*notes, ONE_TOKEN.format(ratio)), **told)
    chunks = tokens / ratio
    return Reading(
        source,
        chunks,
        ceil(ratio - 1) * chunks,
        tokens - chunks,
        exact_rounds=False,
        steps=chunks,
        notes=(*notes, CHUNKS.format(ratio)),
        **told,
    )
