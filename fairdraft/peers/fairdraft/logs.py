"""fairdraft's step trace (JSON lines), as `LLM.trace` writes it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from fairdraft.errors import ReadingError
from fairdraft.peers.base import Reading, Record, number, numbers, part, parts
from fairdraft.peers.fairdraft.verbs import VERBS


def read_trace(records: Sequence[Record], source: str) -> list[Reading] | None:
    """Read a step trace, all its steps together.

    The step time is of those steps in which every request decodes.

    Returns:
        None if it is no trace.

    Raises:
        ReadingError: a field is missing or no number, or no step decodes.
    """
    if not all({"step", "times", "requests"} <= set(record) for record in records):
        return None
    drafted, stood = Counter[int](), Counter[int]()  # by position
    seconds: list[float] = []  # of steps that only decode
    whole = tokens = nodes = steps = decoding = drafting = prompts = 0.0
    computed: dict[str, float] = {}  # tokens of each request, as of its latest step
    preemptions = 0
    for record in records:
        times = part(record, "times", source)
        took = sum(number(times, verb, source) for verb in VERBS)
        whole += took
        pure = True
        requests = parts(record, "requests", source)
        for request in requests:
            name = str(request.get("request_id"))
            before = number(request, "num_computed_tokens", source)
            preemptions += before < computed.get(name, 0.0)  # only that loses tokens
            computed[name] = before
            if "num_accepted" not in request:
                pure = False
                prompts += number(request, "num_new_tokens", source)
                continue
            draft = numbers(request, "draft_token_ids", source)
            depth = _depth(request, len(draft), source)
            accepted = int(number(request, "num_accepted", source))
            if accepted > depth:
                raise ReadingError(
                    f"{source!r}: {accepted} tokens of a draft {depth} deep stood: trace it anew"
                )
            drafted.update(range(depth))
            stood.update(range(accepted))
            nodes += len(draft)
            steps += 1
            tokens += len(numbers(request, "token_ids", source))
            read = number(request, "num_new_tokens", source) - 1 - len(draft)
            prompts += max(read, 0.0)
            pure &= read <= 0
        if pure and requests:
            seconds.append(took)
            drafting += number(times, "propose", source)
            decoding += len(requests)
    if not seconds:
        raise ReadingError(f"{source!r} has no step that only decodes: trace a longer run")
    return [
        Reading(
            source,
            drafted[0],
            nodes,
            sum(stood.values()),
            tuple(float(stood[i]) for i in range(len(drafted))),
            tokens / whole if whole else None,
            decoding / len(seconds),
            sum(seconds) / len(seconds),
            drafted_per_position=tuple(float(drafted[i]) for i in range(len(drafted))),
            steps=steps,
            # A tree has more nodes than its longest path, which is what can stand.
            draft_seconds=drafting / len(seconds) if drafted else None,
            generated=tokens,
            prompt_tokens=prompts,
            preemptions=preemptions,
            stated_k=sum(drafted.values()) / drafted[0] if drafted[0] else None,
        )
    ]


def _depth(request: Record, nodes: int, source: str) -> int:
    """Return the longest path of a draft: a chain without `parents`, else a tree."""
    parents = request.get("parents")
    if not parents:
        return nodes
    if not isinstance(parents, list) or len(parents) != nodes:
        raise ReadingError(f"{source!r}: a draft of {nodes} nodes has the parents {parents!r:.40}")
    depths: list[int] = []
    for node, parent in enumerate(parents):
        if not isinstance(parent, int) or not -1 <= parent < node:
            raise ReadingError(f"{source!r}: node {node} of a draft has the parent {parent!r}")
        depths.append(1 if parent < 0 else depths[parent] + 1)
    return max(depths)
