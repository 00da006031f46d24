"""Prompts from a file, or from what ships with fairdraft."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from fairdraft.errors import ConfigError

DATASETS = ("humaneval", "gsm8k", "mt_bench", "code_editing")


def load_prompts(name_or_path: str, limit: int | None = None) -> list[str]:
    """Return the prompts of a shipped dataset or of a JSONL file.

    Each line of the file is an object with `prompt` (a text), `question` (a text), or `turns` (a
    list of texts, of which the first is taken). Blank lines are skipped.

    Args:
        name_or_path: "humaneval", "gsm8k", "mt_bench", "code_editing", or a path.
        limit: take the first so many; None takes all.

    Returns:
        At least one prompt; fewer than `limit` if there are not more.

    Raises:
        ConfigError: no such dataset or file, or a line that is no such object.
    """
    if name_or_path in DATASETS:
        content = (files("fairdraft") / "data" / f"{name_or_path}.jsonl").read_text("utf-8")
    else:
        content = _read(name_or_path)
    prompts: list[str] = []
    for number, line in enumerate(content.split("\n"), start=1):
        if limit is not None and len(prompts) >= limit:
            break
        if line.strip():
            prompts.append(_prompt(line, f"line {number} of {name_or_path!r}"))
    if not prompts:
        raise ConfigError(f"{name_or_path!r} holds no prompts: give one JSON object a line")
    return prompts


def _read(path: str) -> str:
    try:
        return Path(path).read_text("utf-8")
    except FileNotFoundError:
        raise ConfigError(
            f"{path!r} is neither a file nor a dataset: the datasets are {', '.join(DATASETS)}"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path!r} cannot be read ({error}): give a JSONL file in UTF-8"
        ) from None


def _prompt(line: str, where: str) -> str:
    try:
        record: Any = json.loads(line)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{where} is not JSON ({error}): give one object a line") from None
    prompt: Any = None
    if isinstance(record, dict):
        turns = record.get("turns") or [None]
        prompt = record.get("prompt") or record.get("question")
        if prompt is None and isinstance(turns, list):
            prompt = turns[0]
    if not isinstance(prompt, str) or not prompt.strip():
        raise ConfigError(
            f"{where} has no text under `prompt`, `question` or `turns`: give it one of these"
        )
    return prompt
