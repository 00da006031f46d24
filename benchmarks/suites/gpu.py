"""What a GPU shows of fairdraft, in a few minutes and one file.

Sections, in this order: the machine; what runs on the device against what defines it; torch's
products, whether a row's bits depend on the others; runs of an 8B Llama of random weights against
the bandwidth's floor; texts with and without speculation in float32; where a step's time goes. The
file is written anew behind each section; one that fails says why in its place, and those that the
time does not suffice for say so.

    python -m benchmarks.suites.gpu --out gpu.json
"""

from __future__ import annotations

import argparse
import subprocess
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from benchmarks.constants import WORK
from benchmarks.suites.gpu_clock import Deadline
from benchmarks.suites.gpu_engine import identity, step_parts
from benchmarks.suites.gpu_kernels import kernels
from benchmarks.suites.gpu_model import model_steps
from benchmarks.suites.gpu_products import products
from fairdraft.bench.layout import row_per_line
from fairdraft.models.checkpoints import choose_device
from fairdraft.telemetry.environment import benchmark_environment

Section = Callable[[torch.device, bool, Deadline], dict[str, Any]]
TRACEBACK_LINES = 12


def machine(device: torch.device, _tiny: bool, _deadline: Deadline) -> dict[str, Any]:
    """Say what the suite ran on: the environment, the driver, the processor's vectors."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), [])
    found = benchmark_environment() | {
        "device": str(device),
        "vectors": sorted(f for f in flags if f.startswith(("avx", "amx", "fma", "f16c"))),
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        found["gpu_memory_gib"] = round(properties.total_memory / 2**30, 1)
        found["multiprocessors"] = properties.multi_processor_count
        found["cuda"] = torch.version.cuda
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        found["driver"] = subprocess.run(
            query, capture_output=True, text=True, check=False
        ).stdout.strip()
    return found


SECTIONS: dict[str, Section] = {
    "environment": machine,
    "kernels": kernels,
    "products": products,
    "model": model_steps,
    "identity": identity,
    "steps": step_parts,
}


def run(
    sections: Mapping[str, Section], out: Path, device: torch.device, tiny: bool, minutes: float
) -> dict[str, Any]:
    """Run sections and write what they found behind each; return it.

    Args:
        sections: by name, in order.
        out: the file.
        device: where they run.
        tiny: small shapes and few rounds, to try the suite itself.
        minutes: after which nothing new is begun.
    """
    deadline = Deadline(60 * minutes)
    found: dict[str, Any] = {}
    out.parent.mkdir(parents=True, exist_ok=True)
    for name, section in sections.items():
        print(f"{name} ...", flush=True)
        start = perf_counter()
        if deadline.passed:
            found[name] = {"not_run": f"the {minutes:g} minutes were up"}
        else:
            found[name] = _guarded(section, device, tiny, deadline)
        found[name]["seconds"] = round(perf_counter() - start, 2)
        scratch = out.with_suffix(".partial")
        scratch.write_text(row_per_line(found) + "\n")
        scratch.replace(out)
        if device.type == "cuda":
            torch.cuda.empty_cache()
    return found


def _guarded(
    section: Section, device: torch.device, tiny: bool, deadline: Deadline
) -> dict[str, Any]:
    try:
        return section(device, tiny, deadline)
    except Exception as error:  # whatever a device does not do: the other sections are still told
        tail = traceback.format_exc().splitlines()[-TRACEBACK_LINES:]
        print(*tail, sep="\n", flush=True)
        return {"error": f"{type(error).__name__}: {error}", "traceback": tail}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=WORK / "gpu.json")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="small shapes, to try the suite itself")
    parser.add_argument("--minutes", type=float, default=4)
    parser.add_argument("--only", help=f"of {', '.join(SECTIONS)}, separated by commas")
    options = parser.parse_args()
    names = options.only.split(",") if options.only else list(SECTIONS)
    if unknown := [name for name in names if name not in SECTIONS]:
        parser.error(f"no section is called {unknown[0]!r}: there are {', '.join(SECTIONS)}")
    chosen = {name: SECTIONS[name] for name in names}
    run(chosen, options.out, choose_device(options.device), options.tiny, options.minutes)
    print(f"written to {options.out}")


if __name__ == "__main__":
    main()
