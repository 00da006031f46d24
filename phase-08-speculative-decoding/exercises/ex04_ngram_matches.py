"""Exercise 4: what the n-gram proposer matches and returns, and on which texts it is right."""

from __future__ import annotations

import re

from shared import result, show

from benchmarks.lookup_replay import replay_text
from fairdraft.bench.datasets import load_prompts
from fairdraft.config import SamplingParams
from fairdraft.proposers.ngram import NgramProposer
from fairdraft.request import Request
from fairdraft.sampling.sampler import DraftNoise
from fairdraft.telemetry import SpecCounters

K, LONGEST, SHORTEST = 4, 3, 2
CASES = ("a b c d e a b", "a b c x b c y a b c", "b c x b c y b c", "a b a b", "a b c d e f")
ARTICLE = """The harbour council met on Tuesday evening to discuss the new ferry line between the
old town and the northern islands. The ferry line will open in May, with six crossings a day in
summer and two in winter. Fishermen from the northern islands fear that the pier at Black Rock will
be too narrow for both the ferry and their boats. The council promised to widen the pier at Black
Rock before the ferry line opens, and to pay for it out of the harbour fund."""
SUMMARY = """The new ferry line between the old town and the northern islands will open in May, with
six crossings a day in summer and two in winter. The council promised to widen the pier at Black
Rock before the ferry line opens."""
Task = tuple[str, str]  # a prompt, and the text that follows it


def proposer(match: str = "latest") -> NgramProposer:
    """Return the proposer that all cases are put to."""
    return NgramProposer(K, LONGEST, SHORTEST, match)


def drafts(words: list[str]) -> list[str]:
    """Return what each kind of match drafts behind some words."""
    request = Request("0", tuple(ord(word) for word in words), SamplingParams())
    found = (proposer(match).draft(request, K, DraftNoise()) for match in ("latest", "earliest"))
    return [" ".join(map(chr, draft.token_ids)) or "-" for draft in found]


def renamings() -> list[Task]:
    """Return the tasks that ask for another function name, with the answer that they ask for."""
    found = []
    for prompt in load_prompts("code_editing"):
        program = re.findall(r"```python\n(.*?)```", prompt, re.DOTALL)[0]
        if prompt.startswith("Rename"):
            name = re.findall(r"^def (\w+)", program, re.MULTILINE)[-1]
            renamed = re.sub(rf"\b{name}\b", "solve", program)
            found.append((prompt, f"```python\n{renamed}```"))
    return found


def halves(dataset: str) -> list[Task]:
    """Return a dataset's prompts, the second half of each as the text that follows the first."""
    return [(t[: len(t) // 2], t[len(t) // 2 :]) for t in load_prompts(dataset)]


def count(tasks: list[Task]) -> SpecCounters:
    """Draft and accept along known texts; a token is a word or a sign, with the space before it."""
    total, ids = SpecCounters(), dict[str, int]()
    for prompt, text in tasks:
        both = [
            [ids.setdefault(word, len(ids)) for word in re.findall(r"\s*(?:\w+|[^\w\s])", part)]
            for part in (prompt, text)
        ]
        total.merge(replay_text(proposer(), "0", *both))
    return total


def main() -> None:
    """Print what is matched, then how far the drafts are right by kind of text."""
    lines = [(case, *drafts(case.split())) for case in CASES]
    show(("text", "drafts, latest match", "earliest match"), lines, left=3)
    kinds = {
        "a renamed function, behind its program": renamings(),
        "a summary, behind its article": [(ARTICLE, SUMMARY)],
        "programs, second half behind first": halves("code_editing"),
        "chat prompts, second half behind first": halves("mt_bench"),
    }
    print()
    rows = []
    for name, tasks in kinds.items():
        found = count(tasks)
        share = f"{found.num_drafts / found.num_steps:.0%}"
        accepted = f"{found.num_accepted_tokens} of {found.num_draft_tokens}"
        rows.append((name, len(tasks), share, accepted, f"{found.tokens_per_step:.2f}"))
    show(("text", "texts", "runs with a draft", "accepted", "tokens a run"), rows)
    print("\nthe demo model's own answers, k = 4 (benchmarks/results/ngram.json)")
    for row in result("ngram")["match"]:
        if row["k"] == K and row["match"] == "latest":
            print(f"  {row['dataset']:9} {row['tokens_per_step']:.2f} tokens a run")


if __name__ == "__main__":
    main()
