"""Prompts and the target's own answers to them, which drafters learn from."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.progress import Progress
from torch import Tensor

from fairdraft.config import SamplingParams
from fairdraft.errors import TrainingError
from fairdraft.llm import LLM
from fairdraft.training.storage import writing

TEMPERATURES = (0.0, 0.8)  # taken in turns: greedy answers, and sampled ones
SELF_TEMPERATURES = (1.0,)
MAX_QUESTION = 160  # tokens
CHUNK = 64  # answers between two writes to disk


@dataclass(frozen=True)
class AnsweredPrompt:
    """A prompt, and what the target answered.

    Args:
        prompt: token ids, chat template included.
        answer: the target's own token ids.
    """

    prompt: tuple[int, ...]
    answer: tuple[int, ...]

    @property
    def token_ids(self) -> tuple[int, ...]:
        """All tokens: the prompt's, then the answer's."""
        return self.prompt + self.answer


def self_written_prompts(llm: LLM, count: int, path: Path) -> list[list[int]]:
    """Return questions that the target asks itself: its chat template, cut where a user begins.

    Xu et al. 2024, "Magpie" (arXiv 2406.08464): an instruction-tuned model writes the kind of
    questions it was tuned on.

    Args:
        llm: the target.
        count: how many are asked; those without an end are left out.
        path: where they are kept, as in `write_answers`.
    """
    mark = "\ufffc"
    text = llm.tokenizer.apply_chat_template(
        [{"role": "user", "content": mark}], tokenize=False, add_generation_prompt=True
    )
    opening, _, closing = text.partition(mark)
    begin = llm.tokenizer.encode(opening, add_special_tokens=False)
    asked = write_answers(llm, [begin] * count, path, MAX_QUESTION, SELF_TEMPERATURES)
    ended = [text for text in asked if len(text.answer) < MAX_QUESTION]
    questions = [llm.tokenizer.decode(t.answer, skip_special_tokens=True).strip() for t in ended]
    return [
        llm.tokenizer.encode(opening + question + closing, add_special_tokens=False)
        for question in dict.fromkeys(questions)
        if question
    ]


def write_answers(
    llm: LLM,
    prompts: Sequence[Sequence[int]],
    path: Path,
    max_tokens: int,
    temperatures: Sequence[float] = TEMPERATURES,
) -> list[AnsweredPrompt]:
    """Write the target's answers to a file; those that are there already are not written again.

    Args:
        llm: the target, speculating or not: the words are the same.
        prompts: token ids.
        path: JSON lines, made if it is not there.
        max_tokens: longest answer.
        temperatures: taken in turns.

    Raises:
        TrainingError: the file belongs to other prompts, or cannot be written.
    """
    texts = list(read_answers(path)) if path.exists() else []
    for text, prompt in zip(texts, prompts, strict=False):
        if text.prompt != tuple(prompt):
            raise TrainingError(
                f"{str(path)!r} holds answers to other prompts: give another folder, or delete it"
            )
    with Progress(transient=True) as progress:
        task = progress.add_task("writing answers", total=len(prompts), completed=len(texts))
        for first in range(len(texts), len(prompts), CHUNK):
            chunk = prompts[first : first + CHUNK]
            params = [
                SamplingParams(
                    temperature=temperatures[i % len(temperatures)], max_tokens=max_tokens, seed=i
                )
                for i in range(first, first + len(chunk))
            ]
            outputs = llm.generate([{"prompt_token_ids": list(p)} for p in chunk], params)
            fresh = [
                AnsweredPrompt(tuple(prompt), tuple(output.outputs[0].token_ids))
                for prompt, output in zip(chunk, outputs, strict=True)
            ]
            _append(path, fresh)
            texts += fresh
            progress.update(task, completed=len(texts))
    return texts[: len(prompts)]


def read_answers(path: Path) -> Iterator[AnsweredPrompt]:
    """Read the texts of a file that `write_answers` wrote; a last line cut short is left out."""
    for line in path.read_text("utf-8").split("\n")[:-1]:
        record = json.loads(line)
        yield AnsweredPrompt(tuple(record["prompt"]), tuple(record["answer"]))


def frequent_tokens(texts: Iterable[AnsweredPrompt], size: int, vocab_size: int) -> Tensor:
    """Return the tokens that answers use most, [size] int64, ascending; unused ones fill up."""
    counts = Counter(token for text in texts for token in text.answer)
    ranked = [token for token, _ in counts.most_common(size)]
    rest = (token for token in range(vocab_size) if token not in counts)
    ranked += [next(rest) for _ in range(size - len(ranked))]
    return torch.tensor(sorted(ranked))


def _append(path: Path, texts: Sequence[AnsweredPrompt]) -> None:
    lines = [json.dumps({"prompt": text.prompt, "answer": text.answer}) + "\n" for text in texts]
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = path.read_bytes() if path.exists() else b""
        if not kept.endswith(b"\n"):  # killed while writing: the torn line goes
            path.touch()
            os.truncate(path, kept.rfind(b"\n") + 1)
        with path.open("a", encoding="utf-8") as file:
            file.writelines(lines)
