"""Training that is killed and run again ends the same: `kill -9`, for real, curves overlaid.

The same command runs twice on the demo model: once undisturbed, once killed in the middle and then
run again. Every logged loss and every weight of the two heads must be equal to the bit.

    python -m benchmarks.suites.resume
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import matplotlib
import torch
from safetensors.torch import load_file

from benchmarks.constants import DOCS, ROOT
from benchmarks.keeping import write_result

KILLED_AT = 40  # steps
PICTURE = DOCS / "resume.png"
DATA = ROOT / "recipes" / "code.jsonl"
RUN = "from fairdraft.cli.main import main; import sys; main(sys.argv[1:])"


def start(out: Path, texts: Path) -> subprocess.Popen[bytes]:
    """The command, in a process of its own."""
    words = ["train", "eagle3", "--data", str(DATA), "--limit", "48", "--max-tokens", "64"]
    words += ["--texts", str(texts), "--out", str(out), "--intermediate-size", "512"]
    words += ["--draft-vocab-size", "1024", "--passes", "2", "--epochs", "10"]
    words += ["--batch-tokens", "1024", "--save-every", "15", "--measure-every", "1000"]
    return subprocess.Popen([sys.executable, "-c", RUN, *words], stdout=subprocess.DEVNULL)


def read_log(out: Path) -> list[dict[str, Any]]:
    path = out / "log.jsonl"
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]] if path.exists() else []


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        whole, killed, texts = (Path(folder) / name for name in ("whole", "killed", "texts"))
        assert start(whole, texts).wait() == 0
        process = start(killed, texts)
        while len(read_log(killed)) < KILLED_AT:
            assert process.poll() is None, "it ended before it could be killed"
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
        before = read_log(killed)
        assert start(killed, texts).wait() == 0
        logs = [[entry["loss"] for entry in read_log(out)] for out in (whole, killed)]
        heads = [load_file(out / "head" / "model.safetensors") for out in (whole, killed)]
    same = all(torch.equal(heads[0][name], heads[1][name]) for name in heads[0])
    print(f"{len(logs[0])} steps, killed after {len(before)}")
    print(f"losses equal: {logs[0] == logs[1]}; weights equal: {same}")
    draw(logs, [entry["loss"] for entry in before])
    report = {"losses": logs, "killed_after": len(before), "weights_equal": same}
    write_result("resume", report)


def draw(logs: list[list[float]], before: list[float]) -> None:
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 3.4))
    axes.plot(logs[0], linewidth=4, alpha=0.35, label="undisturbed")
    axes.plot(before, linewidth=1.2, color="tab:red", label="until kill -9")
    axes.plot(logs[1], linewidth=1.2, linestyle=":", color="black", label="run again, in the end")
    axes.axvline(len(before) - 1, color="tab:red", linewidth=0.6)
    axes.set(xlabel="step", ylabel="loss")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(PICTURE, dpi=110)


if __name__ == "__main__":
    main()
