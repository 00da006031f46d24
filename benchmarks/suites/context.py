"""Acceptance and speed of n-gram speculation behind long contexts: 1k, 4k and 8k tokens.

A context is other problems of the same dataset and the target's own answers to them, then a new
problem: what a long chat looks like. Greedy, bfloat16, one stream, k = 4, 64 new tokens, off and
on in turns. Each prompt is read once before the clock starts and its KV is reused on both sides:
what is measured is decoding. N-gram lookup remembers nothing of the rounds before.

    python -m benchmarks.suites.context
"""

from __future__ import annotations

import argparse
from statistics import median
from time import perf_counter
from typing import Any

from benchmarks.constants import DATASETS, NGRAM
from benchmarks.keeping import write_result
from fairdraft import LLM, SamplingParams
from fairdraft.bench.datasets import load_prompts
from fairdraft.telemetry import SpecCounters

CONTEXTS = (1_000, 4_000, 8_000)
NUM_TOKENS = 64


def conversation(llm: LLM, dataset: str, tokens: int) -> list[int]:
    """A chat of about so many tokens that ends with a new question."""
    texts = load_prompts(dataset)
    params = SamplingParams(temperature=0, max_tokens=128)
    answers = llm.chat([[{"role": "user", "content": t}] for t in texts[1:17]], params)
    messages: list[dict[str, str]] = []
    question = [{"role": "user", "content": texts[0]}]
    i = 0
    while len(llm.encode_chat([*messages, *question])) < tokens:
        text, answer = texts[1 + i % 16], answers[i % 16].outputs[0].text
        messages += [{"role": "user", "content": text}, {"role": "assistant", "content": answer}]
        i += 1
    return llm.encode_chat([*messages, *question])[-(tokens):]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--datasets", nargs="+", default=list(DATASETS))
    options = parser.parse_args()
    common: dict[str, Any] = {"dtype": "bfloat16", "max_num_seqs": 2}
    engines = {
        "off": LLM("demo", **common),
        "ngram": LLM("demo", **common, speculative_config=NGRAM),
    }
    first = SamplingParams(temperature=0, max_tokens=1, ignore_eos=True)
    params = SamplingParams(temperature=0, max_tokens=NUM_TOKENS, ignore_eos=True)
    rows = []
    for dataset in options.datasets:
        for tokens in CONTEXTS:
            prompt = {"prompt_token_ids": conversation(engines["off"], dataset, tokens)}
            times: dict[str, list[float]] = {name: [] for name in engines}
            counters = SpecCounters()
            for llm in engines.values():
                llm.generate([prompt], first)  # the prompt's KV is there from now on
            for _ in range(options.rounds):
                for name, llm in engines.items():
                    start = perf_counter()
                    output = llm.generate([prompt], params)[0]
                    times[name].append(perf_counter() - start)
                    if name == "ngram":
                        counters.merge(output.spec)
            rows.append(
                {
                    "dataset": dataset,
                    "context": tokens,
                    "mean_acceptance_length": counters.mean_acceptance_length,
                    "tokens_per_step": counters.tokens_per_step,
                    "acceptance_rate_per_pos": counters.acceptance_rate_per_pos,
                    "tokens_per_second": {n: NUM_TOKENS / median(t) for n, t in times.items()},
                    "seconds": times,
                }
            )
            print({key: value for key, value in rows[-1].items() if key != "seconds"}, flush=True)
            write_result("context", {"k": 4, "tokens_per_text": NUM_TOKENS, "rows": rows})


if __name__ == "__main__":
    main()
