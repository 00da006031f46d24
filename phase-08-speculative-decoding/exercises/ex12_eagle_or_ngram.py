"""Exercise 12: EAGLE-3 and n-gram beside each other as measured, and what EAGLE-3 needs."""

from __future__ import annotations

import json
from pathlib import Path

from shared import machine, measured_profile, result, show

import fairdraft

WORKLOADS = ("copies", "humaneval", "gsm8k", "mt_bench", "never repeats")
LOADS = (1, 4, 8)
HEAD = Path(fairdraft.__file__).parent / "data" / "heads" / "eagle3"


def best(method: str, workload: str, streams: int) -> str:
    """Return the best measured speedup of a fixed draft length, and which length that was."""
    (row,) = (
        row
        for row in result("controller")["live"]
        if (row["method"], row["workload"], row["streams"]) == (method, workload, streams)
    )
    name, gain = max(row["speedups"].items(), key=lambda item: item[1])
    return f"{gain:.2f} ({name})"


def main() -> None:
    """Print speedups by text and load, acceptance, and what the head takes."""
    report = result("controller")
    print("best fixed k, speedup over off, one to eight requests at once")
    print(f"({machine(report['environment'])}; copies: code edited, never repeats: T = 1.5)\n")
    methods = ("ngram", "eagle3")
    header = ("text", *(f"{method}, {n}" for n in LOADS for method in methods))
    show(
        header,
        [(w, *(best(method, w, n) for n in LOADS for method in methods)) for w in WORKLOADS],
    )
    heads = result("heads")
    print(f"\nEAGLE-3, k = 3, one stream ({machine(heads['environment'])})")
    rows = [row for row in heads["rows"] if row["method"] == "eagle3, k = 3"]
    show(
        ("text", "first token accepted", "tokens a round", "c", "verify growth", "speedup"),
        [
            (
                row["dataset"],
                f"{row['acceptance_per_pos'][0][0]:.2f}",
                f"{row['mean_acceptance_length']:.2f}",
                f"{row['c']:.3f}",
                f"{row['verify_growth']:.2f}",
                f"{row['speedup']:.2f}",
            )
            for row in rows
        ],
    )
    profile, row = measured_profile(), rows[0]
    config = json.loads((HEAD / "config.json").read_text("utf-8"))
    print("\nwhat the head needs beside its target")
    print(f"  hidden states of layers {config['eagle_aux_hidden_state_layer_ids']}, every step")
    weights = profile.weight_bytes / 2**20
    print(f"  {row['weights_mib']:.1f} MiB of weights; {weights:.0f} the target")
    print(f"  {row['kv_bytes_per_token']} bytes of KV a token; {profile.kv_bytes:,} the target")
    print(f"  a vocabulary of {config['draft_vocab_size']:,} of the target's tokens")
    print(f"  c by bytes {row['c_by_bytes']:.3f}, as measured {row['c']:.3f}")
    print(f"  {(HEAD / 'card.md').read_text('utf-8').splitlines()[2]}")


if __name__ == "__main__":
    main()
