"""Exercise 9: a text on which n-gram always drafts and is never right, and what that costs."""

from __future__ import annotations

from typing import Any

from shared import load_lab, machine, measured_profile, show

SIZE, K = 12, 4  # tokens of the vocabulary; draft length
CONTEXT = 256


def pairs_once() -> list[int]:
    """Return a text in which every token recurs, but never before the same token again.

    Every pair of tokens stands in it once: a de Bruijn sequence, written by always appending the
    largest token that makes a new pair (Martin 1934).
    """
    text, seen = [0], set[tuple[int, int]]()
    while fresh := [t for t in reversed(range(SIZE)) if (text[-1], t) not in seen]:
        seen.add((text[-1], fresh[0]))
        text.append(fresh[0])
    return text


def main() -> None:
    """Print runs and wasted drafts, then what they cost by load."""
    lab, text = load_lab("lab-01"), pairs_once()
    prompt, tokens = text[: 2 * SIZE], len(text) - 2 * SIZE

    def target() -> Any:
        return lab.ToyTarget(lambda token_ids: text[len(token_ids)])

    plain = target()
    expected = lab.generate(plain, prompt, tokens)
    print(f"{tokens} tokens in which no pair of tokens occurs twice, k = {K}")
    print(f"without speculation: {plain.num_runs} runs\n")
    found = {n: lab.speculate(target(), prompt, tokens, k=K, n_min=n) for n in (1, 2)}
    assert all(each.token_ids == expected for each in found.values())
    show(
        ("shortest match", "runs", "drafted", "accepted", "rows a run"),
        [
            (
                f"{n} token{'s' * (n > 1)}",
                each.num_runs,
                each.num_drafted,
                each.num_accepted,
                f"{1 + each.num_drafted / each.num_runs:.2f}",
            )
            for n, each in found.items()
        ],
    )
    profile = measured_profile()
    print(f"\na step of the demo model with {K} wrong draft tokens for each request")
    print(f"({machine(profile.environment)}, context {CONTEXT})")
    for requests in (1, 2, 4, 8):
        off, on = (1e3 * profile.seconds("ngram", k, requests, CONTEXT) for k in (0, K))
        times = f"{off:.1f} → {on:.1f} ms, {off / on:.2f} of the speed"
        print(f"  {requests} request{'s' * (requests > 1)}: {times}")


if __name__ == "__main__":
    main()
