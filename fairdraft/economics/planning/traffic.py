"""Traffic: how long prompts and answers are, as a user describes them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairdraft.errors import ConfigError

IntArray = NDArray[np.int64]
LONGEST = 1_000_000  # tokens of a prompt or an answer
STEPS = 64  # lengths that stand for a range
_KEYS = (("prompt_tokens", "input_tokens", "input_len"), ("output_tokens", "output_len"))


@dataclass(frozen=True)
class Traffic:
    """Lengths of prompts and answers in tokens, each as likely as the others.

    Args:
        prompts: at least one, from 1 on.
        outputs: likewise.
        paired: whether the prompt and the answer of one place belong to one request; else any
            prompt meets any answer.

    Raises:
        ConfigError: a length that cannot be, none, or pairs that do not match.
    """

    prompts: tuple[int, ...]
    outputs: tuple[int, ...]
    paired: bool = False

    def __post_init__(self) -> None:
        for name, lengths in (("a prompt", self.prompts), ("an answer", self.outputs)):
            if not lengths:
                raise ConfigError(f"no length of {name} is given: give one, such as 300")
            for length in lengths:
                if not 1 <= length <= LONGEST:
                    raise ConfigError(
                        f"the length of {name} is {length}, but must be from 1 to {LONGEST} tokens"
                    )
        if self.paired and len(self.prompts) != len(self.outputs):
            raise ConfigError(
                f"there are {len(self.prompts)} prompts and {len(self.outputs)} answers: pairs "
                "must match"
            )

    @property
    def mean_prompt(self) -> float:
        """Mean tokens of a prompt."""
        return float(np.mean(self.prompts))

    @property
    def mean_output(self) -> float:
        """Mean tokens of an answer."""
        return float(np.mean(self.outputs))

    @property
    def mean_context(self) -> float:
        """Tokens of a request that decodes, in the mean over its steps: half of its answer."""
        return self.mean_prompt + self.mean_output / 2

    def draw(self, count: int, seed: int = 0) -> tuple[IntArray, IntArray]:
        """Return prompt and output lengths of so many requests: [count] each.

        Every length comes as often as the others, in an order that the seed decides.
        """
        rng = np.random.default_rng([seed, 1])
        prompts = _dealt(len(self.prompts), count, rng)
        outputs = prompts if self.paired else _dealt(len(self.outputs), count, rng)
        return np.array(self.prompts)[prompts], np.array(self.outputs)[outputs]


def parse_lengths(name: str, text: str) -> tuple[int, ...]:
    """Return the lengths that a user's words mean: 300, or 50-800 evenly, or 50,100,800.

    Args:
        name: the option, to begin an error with.
        text: the words.

    Raises:
        ConfigError: they are something else.
    """
    low, dash, high = text.partition("-")
    try:
        if dash:
            first, last = int(low), int(high)
            if not first <= last:
                raise ValueError
            middles = (np.arange(STEPS) + 0.5) / STEPS
            return tuple(np.rint(first - 0.5 + middles * (last - first + 1)).astype(int).tolist())
        return tuple(int(word) for word in text.split(","))
    except (ValueError, OverflowError):
        raise ConfigError(
            f"{name} is {text!r}, but must be a number of tokens, a range such as 50-800, or a "
            "list such as 50,100,800"
        ) from None


def read_traffic(path: Path, outputs: Sequence[int] = ()) -> Traffic | None:
    """Read the lengths of a file's requests.

    Either a JSON object with `input_lens` and `output_lens`, which `vllm bench serve
    --save-detailed` writes, or JSON lines with `prompt_tokens` and, perhaps, `output_tokens`.

    Args:
        path: the file.
        outputs: of answers, in place of the file's own.

    Returns:
        The traffic; None if the file tells no lengths.

    Raises:
        ConfigError: it cannot be read, or tells no length of answers while none is given.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{str(path)!r} cannot be read ({error}): give a JSON file") from None
    prompts, answers = _lengths(text)
    if not prompts:
        return None
    if outputs:
        return Traffic(tuple(prompts), tuple(outputs))
    if len(answers) != len(prompts):
        raise ConfigError(
            f"{str(path)!r} does not say how long each answer is: add --output-tokens"
        )
    return Traffic(tuple(prompts), tuple(answers), paired=True)


def _lengths(text: str) -> tuple[list[int], list[int]]:
    """Return prompt and output lengths of a file's text; empty where it tells none."""
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError):
        whole = None
    if isinstance(whole, dict) and "input_lens" in whole:
        found = tuple(whole.get(name) for name in ("input_lens", "output_lens"))
        return _whole(found[0]), _whole(found[1])
    records = []
    for line in text.splitlines():
        try:
            records.append(json.loads(line) if line.strip() else {})
        except (ValueError, RecursionError):
            return [], []
    told = [[_told(record, keys) for keys in _KEYS] for record in records if record]
    return _whole([each[0] for each in told]), _whole([each[1] for each in told])


def _told(record: Any, keys: Sequence[str]) -> Any:
    if not isinstance(record, Mapping):
        return None
    return next((record[key] for key in keys if key in record), None)


def _whole(values: Any) -> list[int]:
    """Return whole numbers; empty if something among them is none."""
    known = isinstance(values, list) and all(
        isinstance(value, int) and not isinstance(value, bool) for value in values
    )
    return list(values) if known else []


def _dealt(kinds: int, count: int, rng: np.random.Generator) -> IntArray:
    """Return `count` places out of `kinds`, each as often as the others, shuffled: [count]."""
    decks = [rng.permutation(kinds) for _ in range(-(-count // kinds))]
    return np.concatenate(decks)[:count]
