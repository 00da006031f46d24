"""Exercise 6: a prefill and two verifications through the scheduler: counters, slots, blocks."""

from __future__ import annotations

from shared import show

from fairdraft.config import SamplingParams
from fairdraft.draft import Draft, Verdict
from fairdraft.engine.scheduler import Scheduler
from fairdraft.kv import KVManager
from fairdraft.request import Request

BLOCKS, BLOCK_SIZE, LOOKAHEAD = 8, 4, 3
PROMPT = (10, 11, 12, 13, 14, 15)
# Of each step: the draft that it verifies, how many of its tokens are accepted, the token behind.
STEPS = (((), 0, 16), ((17, 18, 99), 2, 19), ((20, 21, 22), 3, 23))


def main() -> None:
    """Print each step as it is scheduled, and what is left of it afterwards."""
    kv = KVManager(BLOCKS, BLOCK_SIZE, enable_prefix_caching=False)
    scheduler = Scheduler(kv, 1, 16, 64, num_lookahead_tokens=LOOKAHEAD)
    request = Request("0", PROMPT, SamplingParams(max_tokens=16))
    scheduler.add(request)
    lines: list[tuple[object, ...]] = []

    def note(moment: str) -> None:
        counters = request.num_computed_tokens, request.num_tokens, request.num_tokens_with_spec
        lines.append((moment, *counters, " ".join(map(str, request.block_table)) or "-"))

    for number, (draft, accepted, token) in enumerate(STEPS, 1):
        request.hold(Draft(draft))
        note(f"step {number}, drafted" if draft else f"step {number}, waiting")
        (entry,) = scheduler.schedule()
        note("  scheduled")
        end = request.num_computed_tokens
        slots = kv.slots(request, entry.start, end + LOOKAHEAD)
        rows = " ".join(
            f"{token}→{slot}" for token, slot in zip(entry.token_ids, slots, strict=False)
        )
        ahead = ", ".join(map(str, slots[entry.num_new_tokens :]))
        print(f"step {number}: {entry.num_new_tokens} rows (token→slot) {rows}; lookahead {ahead}")
        verdict = Verdict(tuple(range(accepted)), token)
        cut = scheduler.cut(entry, verdict)
        scheduler.update_from_output([entry], [verdict], [cut])
        note(f"  {accepted} accepted" if draft else "  updated")
    print()
    show(("moment", "computed", "tokens", "with spec", "block table"), lines)
    scheduler.finish(request)
    scheduler.check_integrity()
    print(f"\nfinished: {kv.pool.num_free} of {BLOCKS} blocks are free")


if __name__ == "__main__":
    main()
