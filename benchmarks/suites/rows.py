"""What a run of n rows takes, T(n), beside the least that it could take on this machine.

A run reads every weight once and each request's KV once, and multiplies every weight by every row.
The machine reads as fast as a plain sum over more bytes than its caches hold, and multiplies as
fast as torch's largest product; both are measured in the same run. The bound is the longer of the
two times. One request of 1 to 64 rows, and several requests of 1 to 5, bfloat16, at contexts of 300
and 8,000 tokens; every setting once a round, in another order each round, medians.

The demo model, or a shape with random weights. KV is written before it is read: pages that never
were are all the same page, which stays in the cache.

    python -m benchmarks.suites.rows [--shape 1b] [--rows 1-64] [--long-rows 1-5,8,16,32,64]
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

import torch

from benchmarks.constants import HERE
from benchmarks.interleave import rounds
from benchmarks.keeping import write_result
from benchmarks.suites.step_time import BLOCK, flat_batch
from fairdraft.economics.costs.cost_surface import CostSurface, Point
from fairdraft.economics.costs.profile import Profile
from fairdraft.economics.equations.cost import Roofline
from fairdraft.models import ModelRunner, load_checkpoint
from fairdraft.profiling import build_shape

SHAPES = {
    "1b": "llama-3.2-1b",
    "3b": str(HERE / "shapes" / "llama-3.2-3b.json"),
    "gemma3": str(HERE / "shapes" / "gemma3-135m.json"),
    "qwen2": str(HERE / "shapes" / "qwen2-135m.json"),
}
VERIFIED = (1, 2, 3, 4, 5)  # rows of a request that verifies 0 to 4 drafts
PRODUCT = 2048  # width of square matrices: the largest torch product that is timed
PRODUCT_TIMES = 3
PRODUCT_SECONDS = 5  # after which it is not timed again
KV_FILLING = 0.01


class Setting(NamedTuple):
    """What runs: so many requests of so many rows each, behind so much context."""

    requests: int
    rows: int
    context: int


def numbers(text: str) -> list[int]:
    """Read row counts: "1-5,8" is 1, 2, 3, 4, 5 and 8."""
    found: set[int] = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return sorted(found)


def settings(
    rows: Sequence[int],
    long_rows: Sequence[int],
    contexts: Sequence[int],
    requests: Sequence[int],
    batches: Sequence[tuple[int, int]],
) -> list[Setting]:
    """Return what is measured.

    Args:
        rows: of one request, at the first context.
        long_rows: likewise at the others.
        contexts: tokens of each request before the run.
        requests: side by side, with each of `VERIFIED` at the first context.
        batches: requests and rows of each, at every context.
    """
    found: dict[Setting, None] = {}
    for place, context in enumerate(contexts):
        own = long_rows if place else rows
        found |= {Setting(1, n, context): None for n in sorted({*VERIFIED, *own})}
        grid = [] if place else [(b, n) for b in requests for n in VERIFIED]
        found |= {Setting(b, n, context): None for b, n in (*grid, *batches)}
    return list(found)


def load(shape: str | None) -> ModelRunner:
    """Return the demo model, or a shape with random weights, in bfloat16 and as it comes."""
    if shape is None:
        return ModelRunner(load_checkpoint("demo", "bfloat16", "cpu").model)
    return ModelRunner(build_shape(SHAPES[shape], "bfloat16", "cpu"), name=shape)


def allocate(runner: ModelRunner, wanted: Sequence[Setting]) -> int:
    """Make room for the KV of the largest setting, write all of it, and return its bytes."""
    slots = max(s.requests * -(-(s.context + s.rows) // BLOCK) for s in wanted) * BLOCK
    runner.allocate(slots, BLOCK)
    assert runner.storage is not None
    for tensor in (*runner.storage.keys, *runner.storage.values):
        tensor.fill_(KV_FILLING)
    return slots * runner.kv_bytes_per_token


def best_rate(dtype: torch.dtype, size: int) -> float:
    """Return operations a second of torch's product of two square matrices, the best of three.

    A processor that has no instructions for the dtype takes so long that one time must do.
    """
    matrix = torch.randn(size, size).to(dtype)
    seconds: list[float] = []
    while len(seconds) < PRODUCT_TIMES and sum(seconds) < PRODUCT_SECONDS:
        start = perf_counter()
        matrix @ matrix
        seconds.append(perf_counter() - start)
    return 2 * size**3 / min(seconds)


def roofline(runner: ModelRunner, context: int, bandwidth: float, rate: float) -> Roofline:
    """Return the least that a run takes behind a context; a sliding window reads its part of it."""
    config = runner.model.config.get_text_config()
    seen = [min(layer.sliding_window or context, context) / context for layer in runner.layers]
    shares = list(zip(runner.layers, seen, strict=True))
    return Roofline(
        bandwidth,
        rate,
        runner.weight_bytes,
        sum(p.numel() for p in runner.model.parameters()),
        sum(layer.numel * share for layer, share in shares) * runner.model.dtype.itemsize,
        config.num_attention_heads * sum(layer.key_dim * share for layer, share in shares),
    )


def growth(times: dict[Setting, float], requests: int, context: int) -> float:
    """Return λ of so many requests: what `Profile.verify_growth` makes of 1 to 5 rows each."""
    surface = CostSurface(
        Point(requests, n, context, (times[Setting(requests, n, context)],)) for n in VERIFIED
    )
    return Profile("", "", {}, surface, surface).verify_growth(requests, context)


def largest_step(times: dict[Setting, float], context: int) -> tuple[int, float] | None:
    """Return behind which row count of one request the next one costs most, and how much more.

    Returns:
        n and T(n + 1) / T(n) − 1; None where no two neighbouring row counts were measured.
    """
    own = {s.rows: ms for s, ms in times.items() if (s.requests, s.context) == (1, context)}
    steps = {n: own[n + 1] / own[n] - 1 for n in own if n + 1 in own}
    return max(steps.items(), key=lambda step: step[1]) if steps else None


def memory(field: str) -> int:
    """Return bytes of this process's memory: "VmRSS" is held now, "VmHWM" the most so far."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition(f"{field}:")[2].split()[0])


def forget_peak() -> None:
    """Let the most memory so far be what is held now."""
    Path("/proc/self/clear_refs").write_text("5")


def measure(
    runner: ModelRunner, wanted: Sequence[Setting], buffer: torch.Tensor, most: int, minutes: float
) -> tuple[dict[Setting, list[float]], list[float]]:
    """Return milliseconds of each setting, and of a sum over the buffer, round by round."""
    batches = {s: flat_batch(s.requests, s.rows, s.context) for s in wanted}
    samples: dict[Setting, list[float]] = {s: [] for s in wanted}
    sums: list[float] = []
    for number in rounds(most, minutes):
        order: list[Setting | None] = [*wanted, None]
        random.Random(number).shuffle(order)
        for setting in order:
            start = perf_counter()
            if setting is None:
                buffer.sum()
            else:
                runner.run(batches[setting])
            if number:
                taken = sums if setting is None else samples[setting]
                taken.append((perf_counter() - start) * 1e3)
    return samples, sums


def summarise(
    runner: ModelRunner,
    times: dict[Setting, float],
    bandwidth: float,
    rates: dict[str, float],
) -> dict[str, Any]:
    """Return every setting beside its bounds, and the figures that follow.

    Args:
        times: median milliseconds.
        bandwidth: bytes a second.
        rates: operations a second by dtype.
    """
    contexts = list(dict.fromkeys(s.context for s in times))
    lines = {
        (context, dtype): roofline(runner, context, bandwidth, rate)
        for context in contexts
        for dtype, rate in rates.items()
    }
    rows = []
    for setting, ms in times.items():
        row = {**setting._asdict(), "ms": ms}
        for dtype in rates:
            bound = 1e3 * lines[setting.context, dtype].seconds(*setting)
            row |= {f"bound_ms_{dtype}": bound, f"ratio_{dtype}": ms / bound}
        rows.append(row)
    full = {s.requests for s in times if s.context == contexts[0] and s.rows == VERIFIED[-1]}
    steps = {context: largest_step(times, context) for context in contexts}
    one = times[Setting(1, 1, contexts[0])]
    return {
        "five_over_one": {
            str(c): times[Setting(1, 5, c)] / times[Setting(1, 1, c)] for c in contexts
        },
        "largest_step": {str(c): step for c, step in steps.items() if step},
        "verify_growth": {str(b): growth(times, b, contexts[0]) for b in sorted(full)},
        "one_over_floor": one / 1e3 * bandwidth / runner.weight_bytes,
        "rows": rows,
    }


def show(summary: dict[str, Any]) -> None:
    """Print a line a setting, and the figures that follow."""
    rates = ", ".join(f"{rate / 1e9:.0f} GFLOP/s {name}" for name, rate in summary["flops"].items())
    print(f"{summary['bandwidth'] / 1e9:.1f} GB/s, {rates}")
    for row in summary["rows"]:
        bounds = "  ".join(
            f"{dtype} bound {row[f'bound_ms_{dtype}']:7.1f} ratio {row[f'ratio_{dtype}']:5.2f}"
            for dtype in summary["flops"]
        )
        name = f"{row['requests']} × {row['rows']} at {row['context']}"
        print(f"{name:18} {row['ms']:8.1f} ms  {bounds}")
    for context, ratio in summary["five_over_one"].items():
        print(f"T(5) / T(1) at {context}: {ratio:.2f}")
    for context, (n, step) in summary["largest_step"].items():
        print(f"largest step up at {context}: {step:+.1%} from {n} rows to {n + 1}")
    for requests, slope in summary["verify_growth"].items():
        print(f"verify growth of {requests} requests: {slope:.3f}")
    print(f"one row over the floor: {summary['one_over_floor']:.2f}")
    print(f"peak memory over weights and KV: {summary['memory_ratio']:.2f}")


def main() -> None:
    """Measure, print, and keep the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", choices=sorted(SHAPES), help="the demo model if left out")
    parser.add_argument("--rows", default="1-64", help="of one request, at the first context")
    parser.add_argument("--long-rows", default="1-5,8,16,32,64", help="at the other contexts")
    parser.add_argument("--contexts", default="300,8000")
    parser.add_argument("--requests", default="1,2,4,8", help="1 to 5 rows each, first context")
    parser.add_argument("--batches", default="8x1,8x5", help="at every context")
    parser.add_argument("--buffer-mib", type=int, default=1024, help="summed for the bandwidth")
    parser.add_argument("--product", type=int, default=PRODUCT, help="width of the product")
    parser.add_argument("--rounds", type=int, default=9, help="at most")
    parser.add_argument("--minutes", type=float, default=4, help="after which no round begins")
    parser.add_argument("--name", help="of the result")
    options = parser.parse_args()
    pairs = [tuple(map(int, each.split("x"))) for each in options.batches.split(",") if each]
    wanted = settings(
        numbers(options.rows),
        numbers(options.long_rows),
        [int(n) for n in options.contexts.split(",")],
        numbers(options.requests),
        [(requests, rows) for requests, rows in pairs],
    )
    before = memory("VmRSS")
    runner = load(options.shape)
    forget_peak()  # that of making the model
    kv_bytes = allocate(runner, wanted)
    for setting in (max(wanted, key=lambda s: s.requests * s.rows), wanted[0]):
        runner.run(flat_batch(*setting))
    held = (memory("VmHWM") - before) / (runner.weight_bytes + kv_bytes)
    buffer = torch.ones(options.buffer_mib * 2**18)
    rates = {
        str(dtype).removeprefix("torch."): best_rate(dtype, options.product)
        for dtype in (torch.bfloat16, torch.float32)
    }
    samples, sums = measure(runner, wanted, buffer, options.rounds, options.minutes)
    times = {setting: median(taken) for setting, taken in samples.items()}
    bandwidth = buffer.nbytes / median(sums) * 1e3
    summary = {
        "model": options.shape or "demo",
        "dtype": "bfloat16",
        "batch_invariant": runner.batch_invariant,
        "rounds": len(sums),
        "bandwidth": bandwidth,
        "flops": rates,
        "weight_bytes": runner.weight_bytes,
        "kv_bytes_per_token": runner.kv_bytes_per_token,
        "memory_ratio": held,
        **summarise(runner, times, bandwidth, rates),
    }
    show(summary)
    raw = [{**s._asdict(), "ms": taken} for s, taken in samples.items()]
    name = options.name or "_".join(filter(None, ["rows", options.shape]))
    write_result(name, summary, {"sums_ms": sums, "rows": raw})


if __name__ == "__main__":
    main()
