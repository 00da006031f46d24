"""Everything that has to be seen on a CUDA device, in minutes, on a machine that is lent for them.

    machine     what it is
    kernels     attention, sampling and replayed steps against what defines them
    identity    float32: every method, greedy and sampled, says what the engine says without
    invariance  bfloat16: which of torch's ways give a row the same bits in any company, and cost
    steps       an 8B model: step times with and without graphs, k* by load, synthetic acceptance
    profile     the same: kernels by kind

Each section has a time of its own, records its error if it fails, and is written when it is done.

    python -m benchmarks.suites.gpu --out gpu.json
"""

from __future__ import annotations

import argparse
import gc
import platform
from pathlib import Path

import torch

from benchmarks.gpu.identity import identity
from benchmarks.gpu.invariance import invariance
from benchmarks.gpu.kernels import kernels
from benchmarks.gpu.profile import where_time_goes
from benchmarks.gpu.sections import Report, Section, Setting, keep, run_section
from benchmarks.gpu.steps import steps
from fairdraft.telemetry.environment import benchmark_environment


def machine(setting: Setting, found: Report) -> None:
    """Say what is measured on."""
    found |= benchmark_environment()
    found["node"] = platform.platform()
    if setting.device.type == "cuda":
        card = torch.cuda.get_device_properties(setting.device)
        free, total = torch.cuda.mem_get_info(setting.device)
        found |= {
            "card": card.name,
            "multiprocessors": card.multi_processor_count,
            "memory_bytes": total,
            "free_bytes": free,
            "cuda": torch.version.cuda,
            "driver": _driver(),
        }


def _driver() -> str | None:
    """Return the version of NVIDIA's driver; None where the kernel does not tell it."""
    try:
        return Path("/proc/driver/nvidia/version").read_text().splitlines()[0]
    except OSError:
        return None


# Section → its share of the whole time.
SECTIONS: dict[str, tuple[Section, float]] = {
    "machine": (machine, 0.02),
    "kernels": (kernels, 0.1),
    "invariance": (invariance, 0.13),
    "steps": (steps, 0.35),
    "identity": (identity, 0.3),
    "profile": (where_time_goes, 0.1),
}


def main(arguments: list[str] | None = None) -> None:
    """Run the sections and write them one by one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--minutes", type=float, default=7, help="of all sections (default 7)")
    parser.add_argument("--only", help=f"some of {','.join(SECTIONS)}")
    parser.add_argument("--device", default="cuda", help="cuda (default) or cpu")
    parser.add_argument("--tiny", action="store_true", help="tiny models, to try the sections")
    options = parser.parse_args(arguments)
    names = options.only.split(",") if options.only else list(SECTIONS)
    if unknown := [name for name in names if name not in SECTIONS]:
        parser.error(f"--only names {unknown[0]!r}, but the sections are {', '.join(SECTIONS)}")
    share = sum(SECTIONS[name][1] for name in names)
    report: Report = {}
    for name in names:
        section, part = SECTIONS[name]
        seconds = 60 * options.minutes * part / share
        setting = Setting(torch.device(options.device), options.tiny, seconds)
        report[name] = run_section(section, setting)
        keep(options.out, report)
        print(f"{name}: {report[name]['seconds']} s {report[name].get('error', '')}", flush=True)
        gc.collect()
        if options.device == "cuda":
            torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
