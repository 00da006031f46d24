"""Where the device's time goes in decode steps of an 8B model, by kind of kernel."""

from __future__ import annotations

import gc
from collections import defaultdict

from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu.sections import Report, Setting, synchronize
from benchmarks.gpu.steps import eight_billion
from fairdraft.profiling.steps import Filler, rejecting_engine, standing, step

STEPS = 4
# The first word that a kernel's name holds says what it is of.
KINDS = (
    ("products", ("gemm", "cutlass_80_tensorop", "nvjet", "cublas", "splitk", "gemv")),
    ("attention", ("fmha", "attention", "flash", "softmax")),
    ("gathers", ("index", "gather", "scatter")),
    ("copies", ("memcpy", "memset", "copy")),
    ("sorts and scans", ("sort", "scan", "cumsum", "topk")),
    ("sums", ("reduce",)),
    ("elementwise", ("elementwise", "vectorized", "cat")),
)


def where_time_goes(setting: Setting, found: Report) -> None:
    """Profile steps of one row and of five at 1, 8 and 64 requests."""
    found["rows"], found["left_out"] = [], []
    runner = eight_billion(setting)
    cuda = setting.device.type == "cuda"
    for count in (1, 2) if setting.tiny else (1, 8, 64):
        for k in (0, 4):
            if setting.left < 0:
                found["left_out"].append(f"{count} requests of {1 + k} rows")
                continue
            runner.storage = runner.graphs = None
            gc.collect()
            engine = rejecting_engine(runner, Filler(4), count, 4, 300)
            standing(engine, count, 300)
            for _ in range(5):
                step(engine, k)
            synchronize(setting.device)
            activities = [ProfilerActivity.CUDA if cuda else ProfilerActivity.CPU]
            with profile(activities=activities) as profiled:
                for _ in range(STEPS):
                    step(engine, k)
                synchronize(setting.device)
            spent: defaultdict[str, float] = defaultdict(float)
            longest: defaultdict[str, float] = defaultdict(float)
            for event in profiled.key_averages():
                micro = float(event.self_device_time_total if cuda else event.self_cpu_time_total)
                spent[kind_of(event.key)] += micro / STEPS / 1e3
                longest[event.key[:90]] += micro / STEPS / 1e3
            found["rows"].append(
                {
                    "requests": count,
                    "rows": 1 + k,
                    "ms_per_step": _largest(spent),
                    "longest": _largest(longest),
                }
            )


def _largest(spent: dict[str, float]) -> dict[str, float]:
    """Return the eight largest, rounded."""
    names = sorted(spent, key=lambda name: -spent[name])
    return {name: round(spent[name], 3) for name in names[:8]}


def kind_of(kernel: str) -> str:
    """Return what a kernel of this name is part of."""
    name = kernel.lower()
    return next((kind for kind, words in KINDS if any(word in name for word in words)), "other")
