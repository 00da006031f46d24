"""Runs vLLM with and without EAGLE-3 side by side, and keeps what it prints. Given.

    make lab-02

Two servers are started, one without speculation and one with it, and asked in turns: the same
prompts at the same number of streams, A B, then B A. Only one of them computes at a time.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from transformers import AutoTokenizer

from benchmarks.checkpoints import demo_folder
from benchmarks.constants import WORK
from benchmarks.prompts import chat_prompts
from fairdraft.heads.shipped import shipped_head
from fairdraft.telemetry.environment import machine

HERE = Path(__file__).parent
VLLM = WORK / "vllm" / "bin" / "python"
START_SECONDS = 400
SETTLE_SECONDS = 1.5  # threads of the server that just answered spin for so long
SETTINGS = {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "VLLM_CPU_KVCACHE_SPACE": "1"}


class Server:
    """A vLLM server on loopback, in a process of its own.

    Args:
        python: of vLLM's environment.
        model: the target's folder.
        speculative: vLLM's speculative config; None starts it without.
        log: file for what it prints.

    Raises:
        RuntimeError: it ended before it answered, or took longer than `START_SECONDS`.
    """

    def __init__(
        self, python: Path, model: Path, speculative: dict[str, Any] | None, log: Path
    ) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        command = [str(python), "-m", "vllm.entrypoints.openai.api_server", "--model", str(model)]
        command += ["--host", "127.0.0.1", "--port", str(port), "--served-model-name", "target"]
        command += ["--dtype", "bfloat16", "--max-model-len", "1024", "--max-num-seqs", "8"]
        command += ["--enforce-eager", "--no-enable-prefix-caching"]
        if speculative is not None:
            command += ["--speculative-config", json.dumps(speculative)]
            command += ["--per-request-spec-decode-metrics", "detailed"]
        openmp = python.parent.parent / "lib" / "libiomp5.so"
        settings = SETTINGS | ({"LD_PRELOAD": str(openmp)} if openmp.exists() else {})
        with log.open("w") as out:
            self.process = subprocess.Popen(
                command, stdout=out, stderr=subprocess.STDOUT, env=os.environ | settings
            )
        begun = time.monotonic()
        while True:
            try:
                self.get("/health")
                return
            except OSError as error:
                waited = time.monotonic() - begun
                if self.process.poll() is not None or waited > START_SECONDS:
                    self.stop()
                    end = log.read_text()[-2000:]
                    raise RuntimeError(f"vLLM did not start; the end of {log}:\n{end}") from error
                time.sleep(1)

    def get(self, path: str) -> str:
        """Return what the server says to a GET."""
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            return str(answer.read().decode())

    def complete(self, prompt: list[int], max_tokens: int) -> dict[str, Any]:
        """Write so many tokens behind a prompt, greedily, and return the server's answer."""
        body = {"model": "target", "prompt": prompt, "max_tokens": max_tokens, "temperature": 0}
        request = urllib.request.Request(
            self.url + "/v1/completions",
            json.dumps(body | {"ignore_eos": True}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=600) as answer:
            return dict(json.loads(answer.read()))

    def rate(self, prompts: list[list[int]], streams: int, max_tokens: int) -> float:
        """Return tokens a second over all prompts, so many at a time."""
        begun = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(streams) as pool:
            list(pool.map(lambda prompt: self.complete(prompt, max_tokens), prompts))
        return len(prompts) * max_tokens / (time.monotonic() - begun)

    def stop(self) -> None:
        """End the process."""
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(20)
        self.process.kill()


@contextlib.contextmanager
def servers(python: Path, k: int, folder: Path) -> Iterator[dict[str, Server]]:
    """Start both servers, one after the other, and stop them in the end."""
    head = shipped_head("demo", "eagle3")
    config = {"method": "eagle3", "model": head, "num_speculative_tokens": k}
    running: dict[str, Server] = {}
    try:
        for side, speculative in (("off", None), ("on", config)):
            print(f"starting vLLM, speculation {side} …", file=sys.stderr, flush=True)
            log = folder / f"server-{side}.log"
            running[side] = Server(python, demo_folder(), speculative, log)
        yield running
    finally:
        for server in running.values():
            server.stop()


def spec_lines(metrics: str) -> str:
    """Return the lines of /metrics that are about speculation."""
    lines = [line for line in metrics.splitlines() if "spec_decode" in line]
    return "\n".join(line for line in lines if "_created" not in line) + "\n"


def count_rounds(
    server: Server, prompts: list[list[int]], max_tokens: int
) -> tuple[str, list[Any]]:
    """Write every text once, alone, and return the counters and each round's lengths.

    The counters run from the server's start, so this is measured first and once a server.
    """
    rounds: list[Any] = []
    for prompt in prompts:
        answer = server.complete(prompt, max_tokens)
        found = answer["metrics"]["speculative_decoding"]
        rounds += zip(found["per_step_drafted"], found["per_step_accepted"], strict=True)
    return spec_lines(server.get("/metrics")), rounds


def main() -> None:
    """Measure, and write what vLLM said and how fast it was."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vllm-python", type=Path, default=VLLM)
    parser.add_argument("--out", type=Path, default=HERE / "measured")
    parser.add_argument("--k", type=int, default=3)
    parser.add_argument("--prompts", type=int, default=8, help="of each dataset; a multiple of 8")
    parser.add_argument("--tokens", type=int, default=48, help="of each text")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--streams", default="1,2,4,8")
    options = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(demo_folder())
    texts: dict[str, Any] = {"humaneval": {}, "mt_bench": {}}
    prompts = {name: chat_prompts(tokenizer, options.prompts, (name,)) for name in texts}
    options.out.mkdir(parents=True, exist_ok=True)
    work = WORK / "lab-02"
    work.mkdir(parents=True, exist_ok=True)
    for name in texts:  # a server's counters begin at its start: one for each kind of text
        with servers(options.vllm_python, options.k, work) as running:
            metrics, rounds = count_rounds(running["on"], prompts[name], options.tokens)
            (options.out / f"metrics-{name}.txt").write_text(metrics)
            (options.out / f"rounds-{name}.json").write_text(json.dumps(rounds) + "\n")
            for streams in map(int, options.streams.split(",")):
                rates: dict[str, list[float]] = {"off": [], "on": []}
                for number in range(options.rounds):
                    for side in ("off", "on") if number % 2 else ("on", "off"):
                        time.sleep(SETTLE_SECONDS)
                        rates[side].append(
                            running[side].rate(prompts[name], streams, options.tokens)
                        )
                texts[name][str(streams)] = {side: median(all_) for side, all_ in rates.items()}
                print(name, streams, texts[name][str(streams)], file=sys.stderr, flush=True)
            version = json.loads(running["on"].get("/version"))["version"]
    here = machine()
    run = {
        "model": "SmolLM2-135M-Instruct",
        "dtype": "bfloat16",
        "vllm": version,
        "k": options.k,
        "processor": here["cpu"],
        "cores": here["cores"],
        "date": datetime.now(UTC).date().isoformat(),
        "tokens_per_text": options.tokens,
        "texts_per_kind": options.prompts,
        "rounds": options.rounds,
        "texts": texts,
    }
    (options.out / "run.json").write_text(json.dumps(run, indent=1) + "\n")


if __name__ == "__main__":
    main()
