"""Are texts the same whoever drafts, however they are drawn, and whatever runs beside them?

A pairwise design on the demo model, default settings (bfloat16): method × sampling × arrangement,
in which each pair of levels of two factors occurs. Every text must be, token for token, what one
request at a time writes without speculation and without prefix reuse. Sampled texts (T = 1, a seed
each) are compared where drafts are chosen, as they are in every method here by default.

Finished cells are kept in benchmarks/work by commit; run again, it goes on where it stopped, and
--minutes ends it early. The result is written once all cells are there.

    python -m benchmarks.suites.pairwise [--prompts 20] [--tokens 24] [--minutes 4]
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from benchmarks.constants import DATASETS, NGRAM, PROMPTS, WORK
from benchmarks.keeping import kept, write_result
from benchmarks.prompts import chat_prompts
from benchmarks.suites.identity import SUFFIX_TREES
from fairdraft import LLM, SamplingParams
from fairdraft.models import load_checkpoint
from fairdraft.telemetry.environment import benchmark_environment

STREAMS = 8
CHUNK = 48  # rows of a step, where prompts are read in small chunks
BLOCK = 16
METHODS: dict[str, dict[str, Any] | None] = {
    "off": None,
    "ngram": NGRAM,
    "suffix trees": SUFFIX_TREES,
    "eagle3": {"method": "eagle3", "num_speculative_tokens": 3},
    "medusa": {"method": "medusa", "num_speculative_tokens": 3},
    "draft model": {"method": "draft_model", "num_speculative_tokens": 3},
    "hybrid": {
        "method": "hybrid",
        "num_speculative_tokens": 8,
        "methods": [SUFFIX_TREES, "ngram", {"method": "eagle3", "num_speculative_tokens": 3}],
    },
    "auto": {"method": "auto"},
}
SAMPLINGS = ("greedy", "sampled")
ARRANGEMENTS = ("1 stream", "8 streams", "chunks", "prefix hits", "preemption")

Texts = list[list[int]]


class Cell(NamedTuple):
    """A cell of the design."""

    method: str
    sampling: str
    arrangement: str


def covering(*factors: Sequence[str]) -> list[tuple[str, ...]]:
    """Return few combinations of levels, one of each factor, that have every pair among them.

    Greedy: always the combination with the most pairs that are still missing, the first of equals.
    """
    places = list(itertools.combinations(range(len(factors)), 2))

    def pairs(levels: tuple[str, ...]) -> set[tuple[int, int, str, str]]:
        return {(i, j, levels[i], levels[j]) for i, j in places}

    every = list(itertools.product(*factors))
    missing = set().union(*map(pairs, every))
    found = []
    while missing:
        best = max(every, key=lambda levels: len(pairs(levels) & missing))
        found.append(best)
        missing -= pairs(best)
    return found


def params_of(sampling: str, number: int, tokens: int) -> SamplingParams:
    """Return how the text of a prompt is drawn; a prompt's seed is its number."""
    temperature = 0.0 if sampling == "greedy" else 1.0
    return SamplingParams(temperature=temperature, seed=number, max_tokens=tokens, ignore_eos=True)


def options_of(arrangement: str, prompts: Texts, tokens: int) -> dict[str, Any]:
    """Return the engine's options of an arrangement; what is not named stays the default.

    The small pool holds the longest text alone, and two thirds of what eight of them take.
    """
    longest = max(map(len, prompts)) + tokens
    if arrangement == "1 stream":
        return {"max_num_seqs": 1}
    if arrangement == "chunks":
        return {"max_num_batched_tokens": CHUNK}
    if arrangement == "preemption":
        middle = sum(map(len, prompts)) / len(prompts) + tokens
        blocks = max(math.ceil(longest / BLOCK) + 2, int(STREAMS * middle / BLOCK * 2 / 3))
        return {"num_gpu_blocks_override": blocks}
    return {}


def write_texts(
    model: str,
    speculative: Mapping[str, Any] | None,
    sampling: str,
    arrangement: str,
    prompts: Texts,
    tokens: int,
    **options: Any,
) -> dict[str, Any]:
    """Answer the prompts in a cell.

    Args:
        model, options: as for `LLM`.
        speculative: who drafts.
        sampling, arrangement: of the cell.
        prompts: token ids.
        tokens: of each text.

    Returns:
        `texts`, and what shows that drafts stood, prefixes were found and requests preempted.
    """
    longest = max(map(len, prompts)) + tokens
    chosen: dict[str, Any] = {
        "max_model_len": longest + BLOCK,
        "max_num_seqs": STREAMS,
        "block_size": BLOCK,
    }
    chosen |= options_of(arrangement, prompts, tokens) | options
    inputs = [{"prompt_token_ids": prompt} for prompt in prompts]
    made = [params_of(sampling, i, tokens) for i in range(len(prompts))]
    with LLM(model, speculative_config=speculative, **chosen) as llm:
        if arrangement == "prefix hits":  # every prompt was asked before
            llm.generate(inputs, SamplingParams(temperature=0, max_tokens=1, ignore_eos=True))
        outputs = llm.generate(inputs, made)
        return {
            "texts": [list(output.outputs[0].token_ids) for output in outputs],
            "drafted": sum(output.spec.num_draft_tokens for output in outputs),
            "accepted": sum(output.spec.num_accepted_tokens for output in outputs),
            "preemptions": llm.engine.scheduler.num_preemptions,
            "cached_tokens": sum(output.num_cached_tokens for output in outputs),
        }


def reference(model: str, sampling: str, prompts: Texts, tokens: int, **options: Any) -> Texts:
    """Return what each text must be: written alone, without speculation, on no cached prefix."""
    found = write_texts(
        model, None, sampling, "1 stream", prompts, tokens, enable_prefix_caching=False, **options
    )
    texts: Texts = found["texts"]
    return texts


def judged(cell: Cell, found: Mapping[str, Any], expected: Texts) -> dict[str, Any]:
    """Return a cell's row: which texts differ, and whether the cell showed what it is there for."""
    differing = [
        number
        for number, (text, other) in enumerate(zip(found["texts"], expected, strict=True))
        if text != other
    ]
    shown = {
        "prefix hits": found["cached_tokens"] > 0,
        "preemption": found["preemptions"] > 0,
    }.get(cell.arrangement, True)
    return {
        **cell._asdict(),
        "texts": len(expected),
        "differing": differing,
        **{name: count for name, count in found.items() if name != "texts"},
        "shown": shown and (cell.method in ("off", "auto") or found["drafted"] > 0),
    }


def main() -> None:
    """Go through the cells, print a line each, and keep the result once all are there."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    every = PROMPTS * len(DATASETS)
    parser.add_argument("--prompts", type=int, default=every, help="as many of each dataset")
    parser.add_argument("--tokens", type=int, default=64, help="of each text")
    parser.add_argument("--methods", default=",".join(METHODS), help="only these")
    parser.add_argument("--arrangements", default=",".join(ARRANGEMENTS), help="only these")
    parser.add_argument("--minutes", type=float, default=120, help="after which no cell begins")
    parser.add_argument("--name", default="pairwise", help="of the result")
    options = parser.parse_args()
    tokenizer = load_checkpoint("demo", "bfloat16", "cpu").tokenizer
    each = -(-options.prompts // len(DATASETS))
    # A few of each dataset, whatever the number.
    by_dataset = [chat_prompts(tokenizer, each, (name,)) for name in DATASETS]
    prompts = [p for some in zip(*by_dataset, strict=True) for p in some][: options.prompts]
    commit = benchmark_environment()["git_commit"] or "unknown"
    work = WORK / "pairwise" / f"{commit}-{len(prompts)}x{options.tokens}"
    cells = [
        Cell(*levels)
        for levels in covering(
            options.methods.split(","), SAMPLINGS, options.arrangements.split(",")
        )
    ]
    begun = time.monotonic()
    tokens = options.tokens
    expected = {
        each: kept(work, f"reference-{each}", partial(reference, "demo", each, prompts, tokens))
        for each in SAMPLINGS
    }
    rows = []
    for cell in cells:
        path = "-".join(cell).replace(" ", "_")
        late = time.monotonic() - begun > 60 * options.minutes
        if late and not (work / f"{path}.json").exists():
            continue
        compute = partial(
            write_texts,
            "demo",
            METHODS[cell.method],
            cell.sampling,
            cell.arrangement,
            prompts,
            tokens,
        )
        rows.append(judged(cell, kept(work, path, compute), expected[cell.sampling]))
        row = rows[-1]
        shows = "" if row["shown"] else ": shows nothing"
        print(
            f"{cell.method:12} {cell.sampling:8} {cell.arrangement:12} "
            f"{len(row['differing'])} of {row['texts']} differ {row['differing'] or ''} "
            f"{row['accepted']} of {row['drafted']} drafted stood, {row['preemptions']} "
            f"preemptions, {row['cached_tokens']} cached{shows}",
            flush=True,
        )
    differing = sum(len(row["differing"]) for row in rows)
    texts = sum(row["texts"] for row in rows)
    print(f"{differing} of {texts} texts differ, in {len(rows)} of {len(cells)} cells")
    if len(rows) < len(cells):
        print(f"{len(cells) - len(rows)} cells are left: run it again", file=sys.stderr)
        return
    summary = {
        "dtype": "bfloat16",
        "prompts": len(prompts),
        "tokens_per_text": tokens,
        "differing": differing,
        "methods": METHODS,
        "rows": rows,
    }
    write_result(options.name, summary)


if __name__ == "__main__":
    main()
