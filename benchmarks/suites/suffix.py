"""The suffix index: what a proposal costs, what it holds in memory, how drafts grow with use.

* One proposal, update of the own index included, with 1,000 … 1,000,000 tokens of past answers.
* Memory per indexed token, and over 10,000 requests.
* Six kinds of request, each asked for again and again: tokens a step, request by request, for
  suffix decoding with and without past answers and for n-gram; replayed on the target's own texts.

    python -m benchmarks.suites.suffix
"""

from __future__ import annotations

import argparse
import random
from statistics import median
from time import perf_counter
from typing import Any

import matplotlib

from benchmarks.constants import DATASETS, DOCS, LOOKUP, SEED
from benchmarks.keeping import write_result
from benchmarks.lookup_replay import NOISE, replay_text
from benchmarks.prompts import similar_requests
from fairdraft import LLM, SamplingParams, SpeculativeConfig
from fairdraft.bench.datasets import load_prompts
from fairdraft.proposers import build_proposer
from fairdraft.proposers.suffix import SuffixProposer
from fairdraft.proposers.suffix.index import SuffixIndex
from fairdraft.request import Request
from fairdraft.telemetry import SpecCounters

K = 8
CURVES: dict[str, dict[str, Any]] = {
    "ngram": {"method": "ngram", **LOOKUP},
    "suffix, own text only": {"method": "suffix", "suffix_decoding_max_cached_requests": 0},
    "suffix": {"method": "suffix"},
    "suffix trees": {"method": "suffix", "suffix_decoding_use_tree_spec": True},
}


def words(llm: LLM) -> list[int]:
    """Tokens as they are in real text: all shipped prompts, one after the other."""
    texts = [text for name in DATASETS for text in load_prompts(name)]
    return [token for text in texts for token in llm.tokenizer.encode(text)]


def past_answers(vocabulary: list[int], count: int, rng: random.Random) -> list[list[int]]:
    """Texts of 100 tokens cut together from pieces of real text."""
    texts = []
    for _ in range(count // 100):
        starts = [rng.randrange(len(vocabulary) - 20) for _ in range(5)]
        texts.append([token for s in starts for token in vocabulary[s : s + 20]])
    return texts


def proposal_microseconds(
    vocabulary: list[int], num_tokens: int, tree: bool, repeats: int = 2_000
) -> tuple[list[float], SuffixIndex]:
    rng = random.Random(SEED)
    proposer = SuffixProposer(K, suffix_decoding_use_tree_spec=tree)
    assert proposer.past is not None
    for text in past_answers(vocabulary, num_tokens, rng):
        proposer.past.begin()
        proposer.past.extend(text)
    request = Request("r", tuple(vocabulary[:400]), SamplingParams())
    proposer.propose([request], [K], [()], NOISE)
    times = []
    for i in range(repeats):
        request.token_ids.append(vocabulary[(400 + i) % len(vocabulary)])
        start = perf_counter()
        proposer.propose([request], [K], [()], NOISE)
        times.append((perf_counter() - start) * 1e6)
    return times, proposer.past


def memory(vocabulary: list[int]) -> dict[str, Any]:
    """10,000 requests of 100 tokens, twice over: the second half displaces the first."""
    rng = random.Random(1)
    index = SuffixIndex(24, max_texts=10_000, max_tokens=4_000_000)
    sizes = []
    for i, text in enumerate(past_answers(vocabulary, 2_000_000, rng)):
        index.begin()
        index.extend(text)
        if i % 1_000 == 999:
            sizes.append({"requests": i + 1, "tokens": index.num_tokens, "bytes": index.num_bytes})
    return {"growth": sizes, "bytes_per_token": index.num_bytes / index.num_tokens}


def written(llm: LLM, count: int, num_tokens: int) -> list[list[tuple[list[int], list[int]]]]:
    """Per kind of request the prompts and the target's greedy answers."""
    params = SamplingParams(temperature=0, max_tokens=num_tokens)
    families = []
    for family in similar_requests(count):
        outputs = llm.chat([[{"role": "user", "content": text}] for text in family], params)
        families.append([(o.prompt_token_ids, o.outputs[0].token_ids) for o in outputs])
    return families


def curve(
    families: list[list[tuple[list[int], list[int]]]], speculative: dict[str, Any]
) -> list[float]:
    """Tokens a step of the first, second … request, all kinds together; an index for each kind."""
    totals = [SpecCounters() for _ in families[0]]
    for family in families:
        config = SpeculativeConfig(**speculative, num_speculative_tokens=K)
        proposer = build_proposer(config)
        assert proposer is not None
        for i, (prompt, text) in enumerate(family):
            totals[i].merge(replay_text(proposer, str(i), prompt, text))
    return [total.tokens_per_step for total in totals]


def plot(curves: dict[str, list[float]]) -> None:
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 3.6))
    for name, values in curves.items():
        axes.plot(range(1, len(values) + 1), values, marker="o", markersize=3, label=name)
    axes.set(xlabel="request of the same kind", ylabel="tokens a step", ylim=(1, None))
    axes.legend(frameon=False)
    axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(DOCS / "suffix.png", dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=12)
    parser.add_argument("--tokens", type=int, default=128)
    options = parser.parse_args()
    llm = LLM("demo", max_model_len=512, max_num_seqs=16)
    vocabulary = words(llm)
    cost: dict[str, dict[str, list[float]]] = {"chains": {}, "trees": {}}
    for num_tokens in (1_000, 100_000, 1_000_000):
        for tree in (False, True):
            times, _ = proposal_microseconds(vocabulary, num_tokens, tree)
            cost["trees" if tree else "chains"][str(num_tokens)] = times
            print(f"{num_tokens:9,} tokens, {'tree' if tree else 'chain'}: {median(times):.1f} µs")
    held = memory(vocabulary)
    print(f"{held['bytes_per_token']:.0f} bytes a token; {held['growth'][-1]}")
    families = written(llm, options.requests, options.tokens)
    curves = {name: curve(families, config) for name, config in CURVES.items()}
    for name, values in curves.items():
        print(f"{name:24} {' '.join(f'{value:.2f}' for value in values)}")
    plot(curves)
    write_result(
        "suffix",
        {
            "k": K,
            "proposal_us": {
                kind: {size: median(times) for size, times in by_size.items()}
                for kind, by_size in cost.items()
            },
            "proposal_p99_us": {
                kind: {size: sorted(times)[int(0.99 * len(times))] for size, times in sizes.items()}
                for kind, sizes in cost.items()
            },
            "memory": held,
            "curves": curves,
        },
    )


if __name__ == "__main__":
    main()
