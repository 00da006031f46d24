"""What each engine would print of a simulated server: vLLM and SGLang tell of all requests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from benchmarks.fleets.noise import Noise
from benchmarks.fleets.physics import Ints, Server, Step
from benchmarks.fleets.printing_requests import llama_log, own_trace

WINDOW = 10.0  # seconds between two lines of vLLM
DECODED = 40  # steps between two lines of SGLang
MONTH, DAY = 11, 2  # of the time stamps, which begin at ten o'clock

Printer = Callable[[Server, int, Noise], tuple[str, ...]]


@dataclass
class Sums:
    """What happened over some steps, added up; gauges as the last of them left them."""

    k: int
    seconds: float = 0.0
    steps: int = 0
    tokens: int = 0
    prompt: int = 0
    decoded: int = 0
    rounds: int = 0
    drafted: int = 0
    accepted: int = 0
    gaps: float = 0.0
    outputs: int = 0
    preempted: int = 0
    stood: Ints = field(init=False)
    running: int = 0
    waiting: int = 0
    kv: int = 0

    def __post_init__(self) -> None:
        self.stood = np.zeros(self.k, np.int64)

    def add(self, step: Step) -> None:
        """Add a step."""
        self.seconds += step.seconds
        self.steps += 1
        self.tokens += step.tokens
        self.prompt += step.prompts
        self.decoded += step.decoding
        self.rounds += step.rounds
        self.drafted += step.drafted
        self.accepted += step.accepted
        self.gaps += step.gaps
        self.outputs += step.outputs
        self.preempted += step.preempted
        self.stood = self.stood + step.stood
        self.running, self.waiting, self.kv = step.running, step.waiting, step.kv


def clock(seconds: float) -> str:
    """Return the time of day, which begins at ten o'clock."""
    whole = 36000 + int(seconds)
    return f"{whole // 3600 % 24:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def windows_of(server: Server, count: int) -> Iterator[tuple[float, Sums]]:
    """Run a server for so many windows: the time of each one's end, and what was in it."""
    window, began = Sums(server.fleet.k), 0.0
    while count:
        window.add(server.step())
        if server.now - began >= WINDOW:
            window.seconds, began = server.now - began, server.now
            yield server.now, window
            window = Sums(server.fleet.k)
            count -= 1


def vllm_log(server: Server, windows: int, noise: Noise) -> tuple[str, ...]:
    """Print vLLM's log: two lines a window, and the access log between them."""
    lines: list[str] = []
    named = "(APIServer pid=7) " if noise.chance(0.5) else ""
    counts = noise.chance(0.5)  # newer ones tell preemptions, where there were some
    idle = noise.uniform(0, 0.9) if noise.chance(0.2) else 0.0  # the first window begins earlier
    for now, found in windows_of(server, windows):
        seconds = found.seconds / (1 - idle)
        idle = 0.0
        preempted = f"Preemptions: {found.preempted}, " if counts and found.preempted else ""
        stamp = f"{named}INFO {MONTH:02d}-{DAY:02d} {clock(now)}"
        lines += ['INFO:     127.0.0.1:53412 - "POST /v1/completions HTTP/1.1" 200 OK'] * min(
            3, found.tokens // 400
        )
        lines.append(
            f"{stamp} [loggers.py:259] Engine 000: Avg prompt throughput: "
            f"{found.prompt / seconds:.1f} tokens/s, Avg generation throughput: "
            f"{found.tokens / seconds:.1f} tokens/s, Running: {found.running} reqs, Waiting: "
            f"{found.waiting} reqs, {preempted}GPU KV cache usage: "
            f"{100 * found.kv / server.pool:.1f}%, "
            "Prefix cache hit rate: 0.0%"
        )
        if server.k and found.drafted:
            rates = ", ".join(f"{stood / found.rounds:.3f}" for stood in found.stood)
            lines.append(
                f"{stamp} [metrics.py:100] SpecDecoding metrics: Mean acceptance length: "
                f"{1 + found.accepted / found.rounds:.2f}, Accepted throughput: "
                f"{found.accepted / seconds:.2f} tokens/s, Drafted throughput: "
                f"{found.drafted / seconds:.2f} tokens/s, Accepted: {found.accepted} tokens, "
                f"Drafted: {found.drafted} tokens, Per-position acceptance rate: {rates}, "
                f"Avg Draft acceptance rate: {100 * found.accepted / found.drafted:.1f}%"
            )
    return ("\n".join(lines) + "\n",)


def vllm_metrics(server: Server, windows: int, noise: Noise) -> tuple[str, ...]:
    """Print two of vLLM's /metrics pages, so many windows apart, a warm-up before the first."""
    total, pages = Sums(server.fleet.k), []
    for lasts in (noise.uniform(2, 20), windows * WINDOW):
        until = server.now + lasts
        while server.now < until:
            total.add(server.step())
        pages.append(_page(server, total))
    return tuple(pages)


def _page(server: Server, total: Sums) -> str:
    names = '{engine="0",model_name="m"'
    figures = [
        ("num_requests_running", "gauge", "}", total.running),
        ("num_requests_waiting", "gauge", "}", total.waiting),
        ("kv_cache_usage_perc", "gauge", "}", total.kv / server.pool),
        ("num_preemptions_total", "counter", "}", total.preempted),
        ("prompt_tokens_total", "counter", "}", total.prompt),
        ("generation_tokens_total", "counter", "}", total.tokens),
    ]
    if server.k:
        figures += [
            ("spec_decode_num_drafts_total", "counter", "}", total.rounds),
            ("spec_decode_num_draft_tokens_total", "counter", "}", total.drafted),
            ("spec_decode_num_accepted_tokens_total", "counter", "}", total.accepted),
        ]
    lines = []
    for name, kind, end, value in figures:
        lines.append(f"# HELP vllm:{name} Of the server.\n# TYPE vllm:{name} {kind}")
        lines.append(f"vllm:{name}{names}{end} {float(value)}")
    if server.k:
        name = "vllm:spec_decode_num_accepted_tokens_per_pos_total"
        lines.append(f"# HELP {name} Of the server.\n# TYPE {name} counter")
        for i, stood in enumerate(total.stood):
            lines.append(f'{name}{names},position="{i}"}} {float(stood)}')
    name = "vllm:inter_token_latency_seconds"
    lines.append(f"# HELP {name} Of the server.\n# TYPE {name} histogram")
    lines.append(f'{name}_bucket{names},le="+Inf"}} {float(total.outputs)}')
    lines.append(f"{name}_count{names}}} {float(total.outputs)}")
    lines.append(f"{name}_sum{names}}} {total.gaps:.6f}")
    return "\n".join(lines) + "\n"


def sglang_log(server: Server, windows: int, noise: Noise) -> tuple[str, ...]:
    """Print SGLang's log: a line each 40 decoding steps, and lines of prompts and retractions."""
    lines = ["[2026-11-02 09:59:40] INFO: Started server process [4711]"]
    found, began = Sums(server.fleet.k), 0.0
    if noise.chance(0.3):
        began = -noise.uniform(1, 60)  # the first line counts what it waited for a request
    while windows:
        step = server.step()
        found.add(step)
        stamp = f"[2026-11-02 {clock(server.now)} TP0]"
        usage = f"{step.kv / server.pool:.2f}"
        if step.prompt_rows:
            lines.append(
                f"{stamp} Prefill batch. #new-seq: {max(step.prefills, 1)}, #new-token: "
                f"{step.prompt_rows}, #cached-token: 0, token usage: {usage}, #running-req: "
                f"{step.running}, #queue-req: {step.waiting}, "
            )
        if step.preempted:
            lines.append(
                f"{stamp} KV cache pool is full. Retract requests. #retracted_reqs: "
                f"{step.preempted}, #new_token_ratio: 0.5812 -> 0.7204"
            )
        if found.steps < DECODED:
            continue
        told = ""
        if server.k:
            length = (found.decoded + found.accepted) / max(found.decoded, 1)
            rate = found.accepted / max(found.decoded * server.k, 1)
            told = f"accept len: {length:.2f}, accept rate: {rate:.2f}, "
        lines.append(
            f"{stamp} Decode batch. #running-req: {found.running}, #token: {found.kv}, token "
            f"usage: {usage}, {told}cuda graph: True, gen throughput (token/s): "
            f"{found.tokens / (server.now - began):.2f}, #queue-req: {found.waiting}, "
        )
        windows, began, found = windows - 1, server.now, Sums(server.fleet.k)
    return ("\n".join(lines) + "\n",)


PRINTERS: dict[str, Printer] = {
    "vllm log": vllm_log,
    "vllm metrics": vllm_metrics,
    "sglang log": sglang_log,
    "llama.cpp log": llama_log,
    "fairdraft trace": own_trace,
}
