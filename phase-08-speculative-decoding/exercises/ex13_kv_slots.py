"""Exercise 13: KV slots that drafts take, in the worst case and when the pool runs short."""

from __future__ import annotations

import json
from pathlib import Path

from shared import measured_profile, show

import fairdraft
from fairdraft.config import SamplingParams
from fairdraft.draft import Draft, Verdict
from fairdraft.engine.scheduler import Scheduler
from fairdraft.kv import KVManager
from fairdraft.proposers.options import DraftShape
from fairdraft.request import Request

BATCH, BLOCK = 64, 16
# Of each drafter: k, and the lookahead slots that it asks for (fairdraft/proposers).
CHAIN, TREE = DraftShape(5, 1, 5), DraftShape(8, 4, 3)
DRAFTERS = {
    "ngram, k = 5": (5, 0),
    "eagle3, k = 5": (5, CHAIN.most_run),
    "draft_model, k = 5": (5, 1 + CHAIN.most_run),
    "eagle3, tree of 8": (8, TREE.most_run),
}
SHAPE = Path(fairdraft.__file__).parent / "data" / "shapes" / "llama-3-8b.json"


def more_blocks(k: int, lookahead: int, block: int) -> list[int]:
    """Return the blocks that a draft takes beyond plain decoding's, wherever the text ends."""
    found = []
    for computed in range(block):
        held = []
        for rows, ahead in ((1, 0), (1 + k, lookahead)):
            request = Request("0", (0,), SamplingParams())
            KVManager(99, block, False).grow(request, computed + 1, computed + rows, ahead)
            held.append(len(request.block_table))
        found.append(held[1] - held[0])
    return found


def serve(k: int, lookahead: int, pool: int = 36) -> tuple[int, int, int, int]:
    """Serve eight texts from a small pool, every draft rejected.

    Returns:
        Steps, the step of the first preemption, preemptions, draft tokens that were trimmed.
    """
    scheduler = Scheduler(KVManager(pool, BLOCK, False), 8, 1024, 4096, lookahead)
    for i in range(8):
        scheduler.add(Request(str(i), (0,) * (40 + i), SamplingParams(max_tokens=48)))
    steps = first = trimmed = 0
    while list(scheduler.requests):
        for request in scheduler.running:
            request.hold(Draft((0,) * k))
        wanted = sum(len(request.draft) for request in scheduler.running)
        step = scheduler.schedule()
        steps += 1
        trimmed += wanted - sum(len(entry.draft) for entry in step)
        first = first or (steps if scheduler.num_preemptions else 0)
        verdicts = [Verdict((), 0) if entry.num_logit_rows else None for entry in step]
        cuts = [
            None if verdict is None else scheduler.cut(entry, verdict)
            for entry, verdict in zip(step, verdicts, strict=True)
        ]
        scheduler.update_from_output(step, verdicts, cuts)
        for entry in step:
            if entry.request.finish_reason:
                scheduler.finish(entry.request)
    scheduler.check_integrity()
    return steps, first, scheduler.num_preemptions, trimmed


def main() -> None:
    """Print slots, blocks and bytes by drafter, then what a pool that is too small does."""
    llama = json.loads(SHAPE.read_text("utf-8"))
    layers, heads, size = (
        llama[key] for key in ("num_hidden_layers", "num_key_value_heads", "head_dim")
    )
    bytes_of = {"demo": measured_profile().kv_bytes, "8B": 2 * 2 * layers * heads * size}
    print(f"beyond plain decoding, {BATCH} requests, blocks of {BLOCK} tokens")
    print(", ".join(f"{name}: {count:,} bytes a token" for name, count in bytes_of.items()) + "\n")
    lines = []
    for name, (k, lookahead) in DRAFTERS.items():
        blocks = more_blocks(k, lookahead, BLOCK)
        worst = BATCH * max(blocks) * BLOCK
        mean = f"{sum(blocks) / BLOCK:.2f}"
        mib = [f"{worst * count / 2**20:.0f} MiB" for count in bytes_of.values()]
        lines.append((name, f"{k} + {lookahead}", mean, max(blocks), BATCH * (k + lookahead), *mib))
    names = ("drafter", "slots a request", "blocks: mean", "worst", "slots", "worst, demo", "8B")
    show(names, lines)
    print("\nworst case by block size, eagle3, k = 5")
    for block in (1, 8, 16, 32):
        most = max(more_blocks(5, CHAIN.most_run, block))
        print(f"  blocks of {block:2}: {most} a request, {BATCH * most * block:,} slots")
    print("\neight texts, 36 blocks, every draft rejected")
    header = ("k + lookahead", "steps", "first preemption", "preemptions", "trimmed draft tokens")
    cases = ((0, 0), (5, 0), (5, 4), (15, 15))
    show(header, [(f"{k} + {ahead}", *serve(k, ahead)) for k, ahead in cases])


if __name__ == "__main__":
    main()
