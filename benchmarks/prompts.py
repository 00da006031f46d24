"""Prompts of the benchmarks: of the shipped datasets, and texts with more shape than a list."""

from __future__ import annotations

from typing import Any

from benchmarks.constants import DATASETS
from fairdraft import LLM, SamplingParams
from fairdraft.bench.datasets import load_prompts

MIXED = (40, 80, 140, 220, 320, 450, 620, 800)  # tokens, about, of each of `mixed_prompts`
EDITS = (
    "Now rename the function to `solve`. Answer with the whole program.",
    "Now add a type hint to every argument. Answer with the whole program.",
    "Now add a short comment above every line. Answer with the whole program.",
)
KINDS = (
    "Write a short friendly letter to a customer. Thank them for the order, say when it arrives, "
    "and explain how to send it back.\nCustomer: {name}\nCity: {city}\nOrder: {number}",
    "Fill in this record as JSON with the keys name, city, order and note.\n"
    "{name} from {city} asked about order {number}.",
    "Write a Python function that reads the file `{city}.csv`, keeps the rows whose column `name` "
    "is {name}, and returns the sum of the column `amount` if it is above {number}.",
    "{name} has {number} apples and gives half of them to a friend in {city}. How many are left? "
    "Explain step by step.",
    "Write a job advertisement for a baker in {city}. Contact {name}, reference {number}.",
    "Explain to {name}, who is ten and lives in {city}, why it rains. Begin with a greeting.",
)


def chat_prompt(tokenizer: Any, text: str) -> list[int]:
    """Return the token ids of a user's message, ready for the assistant's turn."""
    encoded = tokenizer.apply_chat_template(
        [{"role": "user", "content": text}], add_generation_prompt=True, return_dict=True
    )
    return list(encoded["input_ids"])


def chat_prompts(
    tokenizer: Any, each: int, datasets: tuple[str, ...] = DATASETS
) -> list[list[int]]:
    """Return the token ids of the first so many prompts of each dataset, as a user's message."""
    return [chat_prompt(tokenizer, text) for name in datasets for text in load_prompts(name, each)]


def few_shot_prompt(tokenizer: Any, dataset: str, number: int, longest: int) -> list[int]:
    """Return a prompt of a dataset behind as many others of it as fit, as a user's message.

    Args:
        tokenizer: with a chat template.
        dataset: that ships with fairdraft.
        number: of the prompt.
        longest: tokens of the whole; the prompt alone may be longer.
    """
    texts = load_prompts(dataset)
    texts = [*texts[number + 1 :], *texts[: number + 1]]
    found = chat_prompt(tokenizer, texts[-1])
    for count in range(2, len(texts) + 1):
        longer = chat_prompt(tokenizer, "\n\n".join(texts[-count:]))
        if len(longer) > longest:
            break
        found = longer
    return found


def mixed_prompts(tokenizer: Any, first: int = 0) -> list[list[int]]:
    """Return eight prompts of 50 to 800 tokens, the longer ones behind others of their dataset.

    Args:
        tokenizer: with a chat template.
        first: number of the first prompt in its dataset; the next seven follow.
    """
    names = DATASETS[::-1]  # the shortest prompts are mt_bench's
    return [
        few_shot_prompt(tokenizer, names[i % len(names)], first + i, longest)
        for i, longest in enumerate(MIXED)
    ]


def text_of(tokenizer: Any, length: int) -> list[int]:
    """Return the first so many tokens of all prompts that ship with fairdraft, as one text."""
    texts = [text for name in DATASETS for text in load_prompts(name)]
    token_ids = tokenizer("\n\n".join(texts))["input_ids"]
    assert len(token_ids) >= length, f"the shipped prompts have {len(token_ids)} tokens"
    return list(token_ids[:length])


def agent_replay(llm: LLM, first_task: int, num_tasks: int, num_tokens: int) -> list[list[int]]:
    """Return the prompts of an agent that edits programs in four turns each, as token ids.

    Each turn holds the whole conversation so far, with the target's own answers in it: they are
    written here once, so that every method then answers the very same prompts.

    Args:
        llm: the target, without speculation.
        first_task: of the code-editing set.
        num_tasks: programs; each gives `1 + len(EDITS)` prompts, in order.
        num_tokens: longest answer.
    """
    params = SamplingParams(temperature=0, max_tokens=num_tokens)
    prompts = []
    for task in load_prompts("code_editing")[first_task : first_task + num_tasks]:
        messages: list[dict[str, str]] = []
        for turn in (task, *EDITS):
            messages.append({"role": "user", "content": turn})
            prompts.append(llm.encode_chat(messages))
            answer = llm.chat(messages, params)[0].outputs[0].text
            messages.append({"role": "assistant", "content": answer})
    return prompts


def similar_requests(count: int) -> list[list[str]]:
    """Return each of `KINDS` so many times, with other names and numbers in it each time."""
    names = ("Ada", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gus", "Hana", "Ivo", "Jana", "Kai")
    cities = ("Oslo", "Lima", "Rome", "Cairo", "Perth", "Quito", "Delhi")
    return [
        [
            kind.format(name=names[i % 11], city=cities[i % 7], number=1000 + 38 * i)
            for i in range(count)
        ]
        for kind in KINDS
    ]
