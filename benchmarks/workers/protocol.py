"""What every worker speaks: a line of JSON in, a line of JSON out.

Only the standard library is used here: the file also runs in the peers' own virtual environments.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from typing import Any

Speculative = dict[str, Any] | None
# (prompts, max_tokens) -> new token ids of each prompt, and what the engine counted meanwhile; all
# prompts of one call run at once.
Generate = Callable[[list[list[int]], int], tuple[list[list[int]], dict[str, int]]]

# (model, speculative config) -> what generates, and the mode it does so in, in words.
Load = Callable[[str, Speculative], tuple[Generate, str]]


def serve(load: Load, packages: list[str]) -> None:
    """Load the engine named on the command line, say so, then answer jobs until stdin closes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--speculative", default="null")
    args = parser.parse_args()

    # Engines log to stdout, their child processes too: keep the answers on a descriptor of their
    # own and let everything else go to stderr.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def answer(message: dict[str, Any]) -> None:
        print(json.dumps(message), file=answers)

    generate, mode = load(args.model, json.loads(args.speculative))
    versions = {name: importlib.metadata.version(name) for name in packages}
    answer({"versions": {"python": platform.python_version(), **versions}, "mode": mode})
    for line in sys.stdin:
        job = json.loads(line)
        start = time.perf_counter()
        token_ids, counts = generate(job["prompts"], job["max_tokens"])
        seconds = time.perf_counter() - start
        tokens = sum(map(len, token_ids))
        answer({"seconds": seconds, "tokens": tokens, "token_ids": token_ids, "counts": counts})
