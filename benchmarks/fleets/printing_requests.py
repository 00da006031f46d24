"""What engines print that tell of each request: llama-server's log and fairdraft's step trace."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from benchmarks.fleets.noise import Noise
from benchmarks.fleets.physics import Server

TRACED = 30  # steps that stand for a window of a trace, which has none


@dataclass
class _Answer:
    """One request of llama-server, as its slot tells it in the end."""

    prompt: int = 0
    read: float = 0.0  # milliseconds
    began: float = 0.0
    tokens: int = 0
    rounds: int = 0
    drafted: int = 0
    accepted: int = 0
    stood: list[int] = field(default_factory=list)


def llama_log(server: Server, windows: int, noise: Noise) -> tuple[str, ...]:
    """Print llama-server's log, a window being a request that ended; the statistics go on."""
    k = server.fleet.k
    lines, slots = [], dict[int, _Answer]()
    calls, right, drafting = 0, 0, 0.0
    total = _Answer(stood=[0] * k)
    skipped = {r.number for r in (*server.running, *server.waiting)}  # they began before the log
    while windows:
        step = server.step()
        drafting += 1e3 * step.draft_seconds
        calls += step.decoding
        alive = {r.number for r in (*server.running, *server.waiting)}
        for number, before, rows, draft, accepted, wrote in step.parts:
            slot = slots.setdefault(number, _Answer(stood=[0] * k))
            slot.tokens += wrote
            if draft < 0:
                slot.prompt += rows
                slot.read += 1e3 * step.seconds
                slot.began = server.now
            for each in (slot, total):
                if draft > 0:
                    each.rounds += 1
                    each.drafted += draft
                    each.accepted += accepted
                    for i in range(accepted):
                        each.stood[i] += 1
            right += accepted > 0
            if number in alive or number in skipped or not windows or before < 0:
                continue
            windows -= 1
            lines += _answered(number, slot, server, total, calls, right, drafting)
    return ("\n".join(lines) + "\n",)


def _answered(
    number: int,
    slot: _Answer,
    server: Server,
    total: _Answer,
    calls: int,
    right: int,
    drafting: float,
) -> list[str]:
    spent = 1e3 * (server.now - slot.began)
    at = f"{int(server.now) // 60}.{int(server.now) % 60:02d}.000.000 I"
    head = f"{at} slot print_timing: id {number % server.fleet.streams:2d} | task {number} |"
    lines = [
        f"{head} prompt eval time = {slot.read:10.2f} ms / {slot.prompt:5d} tokens "
        f"({slot.read / max(slot.prompt, 1):8.2f} ms per token, "
        f"{1e3 * slot.prompt / max(slot.read, 1e-3):8.2f} tokens per second)",
        f"{head}        eval time = {spent:10.2f} ms / {slot.tokens:5d} tokens "
        f"({spent / slot.tokens:8.2f} ms per token, {1e3 * slot.tokens / spent:8.2f} tokens per "
        "second)",
        f"{head}       total time = {spent + slot.read:10.2f} ms / "
        f"{slot.tokens + slot.prompt:5d} tokens",
    ]
    if server.k and slot.drafted:
        rates = ", ".join(f"{stood / slot.rounds:.3f}" for stood in slot.stood)
        lines.append(
            f"{head} draft acceptance = {slot.accepted / slot.drafted:.5f} ({slot.accepted:5d} "
            f"accepted / {slot.drafted:5d} generated), mean acceptance length = "
            f"{1 + slot.accepted / slot.rounds:5.2f}, acceptance rate per position = ({rates})"
        )
    if server.k and total.rounds:
        rates = ", ".join(f"{stood / total.rounds:.3f}" for stood in total.stood)
        lines.append(
            f"{at} statistics     draft-eagle3: #calls(b,g,a) = {number:4d} {calls:6d} "
            f"{total.rounds:6d}, #gen drafts = {total.rounds:6d}, #acc drafts = {right:5d}, #gen "
            f"tokens = {total.drafted:6d}, #acc tokens = {total.accepted:5d}, #mean acc len = "
            f"{1 + total.accepted / total.rounds:.2f}, #acc rate/pos = ({rates}), dur(b,g,a) = "
            f"{0.005 * number:.3f}, {drafting:.3f}, {0.001 * calls:.3f} ms"
        )
    return lines


def own_trace(server: Server, windows: int, noise: Noise) -> tuple[str, ...]:
    """Print fairdraft's step trace: every request of every step."""
    lines = []
    for number in range(TRACED * windows):
        step = server.step()
        run = step.seconds - step.draft_seconds
        requests = []
        for name, before, rows, draft, accepted, wrote in step.parts:
            told: dict[str, object] = {
                "request_id": str(name),
                "num_computed_tokens": before,
                "num_new_tokens": rows,
            }
            if draft >= 0 or wrote:
                told["draft_token_ids"] = [7] * max(draft, 0)
                told["num_accepted"] = accepted
                told["token_ids"] = [7] * wrote
            requests.append(told)
        times = {
            "schedule": 0.01 * run,
            "run": 0.95 * run,
            "verify": 0.03 * run,
            "update": 0.01 * run,
            "propose": step.draft_seconds,
        }
        times = {verb: round(seconds, 9) for verb, seconds in times.items()}
        lines.append(json.dumps({"step": number, "times": times, "requests": requests}))
    return ("\n".join(lines) + "\n",)
