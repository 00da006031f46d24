"""Lab 01: n-gram speculative decoding, greedy. Four TODOs, to be done in this order.

Grade yourself:
LAB_IMPL=starter pytest phase-08-speculative-decoding/labs/lab-01-ngram-spec-decode -q
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from toy_target import LAWS, ToyTarget, generate


@dataclass
class Result:
    """What a speculative generation gave, and what it took.

    Args:
        token_ids: the new tokens.
        num_runs: of the target.
        num_drafted: draft tokens that were verified.
        num_accepted: draft tokens that stood and are in `token_ids`.
    """

    token_ids: list[int] = field(default_factory=list)
    num_runs: int = 0
    num_drafted: int = 0
    num_accepted: int = 0

    @property
    def tokens_per_run(self) -> float:
        """New tokens a run of the target; 1.0 is what plain decoding has."""
        return len(self.token_ids) / self.num_runs if self.num_runs else 1.0


def propose_ngram(token_ids: Sequence[int], k: int, n_max: int = 3, n_min: int = 1) -> list[int]:
    """Draft by prompt lookup: find the text's end earlier in the text, copy what followed.

    Args:
        token_ids: prompt and output so far.
        k: draft at most so many tokens.
        n_max: longest end to look for; it is tried first.
        n_min: shortest end to look for.

    Returns:
        What followed the latest earlier occurrence; empty if there is none.
    """
    raise NotImplementedError(
        "TODO 1, propose_ngram: look for the last n tokens earlier in the text, n from n_max "
        "down to n_min, and return what followed the latest match, at most k tokens"
    )


def verify_greedy(draft: Sequence[int], argmax: Sequence[int]) -> tuple[int, int]:
    """Keep the draft's tokens as long as the target would have said them too.

    Args:
        draft: k tokens.
        argmax: k + 1 tokens: what the target says behind the text, behind the text and the first
            draft token, and so on.

    Returns:
        How many draft tokens stand, and the one token after them: the correction at the first
        mismatch, the bonus token if all stand.
    """
    raise NotImplementedError(
        "TODO 2, verify_greedy: count the leading draft tokens that equal argmax at their "
        "place, and return that count and the argmax behind them"
    )


def speculate(
    target: ToyTarget,
    prompt: Sequence[int],
    max_tokens: int,
    k: int = 4,
    n_max: int = 3,
    n_min: int = 1,
    eos: int | None = None,
) -> Result:
    """Write with speculation: draft, verify in one run, keep what stands, again.

    Args:
        target: says what comes next.
        prompt: at least one token.
        max_tokens: how many to write, exactly, unless `eos` comes first.
        k: draft length.
        n_max, n_min: of `propose_ngram`.
        eos: the token that ends the text; it is the last one written.
    """
    raise NotImplementedError(
        "TODO 3, speculate: until max_tokens are written, draft (at most one token fewer than are "
        "still to be written), run the target once over text and draft, verify, append what "
        "stands and the token after it, and count"
    )


def until_end(gained: list[int], eos: int | None) -> list[int]:
    """Cut a round's tokens behind the first `eos`, if there is one.

    Args:
        gained: tokens that stand, and the one after them.
        eos: the token that ends the text; None for a text that only a length ends.
    """
    raise NotImplementedError(
        "TODO 4, until_end: return the tokens up to and with the first eos; all if there is none. "
        "Then use it in speculate before you append and count, and stop there at an eos"
    )


def main() -> None:
    """Show tokens a run on three kinds of text."""
    prompt = list(range(12)) * 2
    for name, law in LAWS.items():
        plain, target = ToyTarget(law), ToyTarget(law)
        same = generate(plain, prompt, 120) == (result := speculate(target, prompt, 120)).token_ids
        print(
            f"{name:9} {plain.num_runs:4} → {target.num_runs:3} runs, "
            f"{result.tokens_per_run:.2f} tokens a run, "
            f"{result.num_accepted} of {result.num_drafted} draft tokens accepted, "
            f"{'same text' if same else 'ANOTHER TEXT'}"
        )


if __name__ == "__main__":
    main()
