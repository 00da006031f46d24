"""Prompts that ship, prompts from files, and what is said about broken ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from fairdraft.bench.datasets import DATASETS, load_prompts
from fairdraft.errors import ConfigError


@pytest.mark.parametrize("name", DATASETS)
def test_shipped_datasets_hold_forty_different_prompts(name: str) -> None:
    prompts = load_prompts(name)
    assert len(prompts) == len(set(prompts)) == 40
    assert load_prompts(name, 3) == prompts[:3]


def test_a_file_may_name_its_prompts_in_three_ways(prompts_file: str) -> None:
    assert load_prompts(prompts_file) == [
        "abc abc abc abc",
        "What is 2 + 2? 2 + 2?",
        "ababababab",
        "[red]x[/red] [x] x x x",
    ]


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="humaneval, gsm8k, mt_bench"):
        load_prompts("humanevil")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"prompt": "x"}\nnot json\n', "line 2"),
        ('{"answer": "x"}\n', "line 1 .* `prompt`, `question` or `turns`"),
        ('{"prompt": "x"}\n\n["x"]\n', "line 3 .* no text"),
        ('{"turns": []}\n', "no text"),
        ('{"turns": "x"}\n', "no text"),
        ('{"prompt": 3}\n', "no text"),
        ("\n\n", "holds no prompts"),
        (b"\xff\xfe", "UTF-8"),
    ],
)
def test_a_broken_file_is_named_with_its_line(
    tmp_path: Path, content: str | bytes, message: str
) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError, match=message) as caught:
        load_prompts(str(path))
    assert str(path) in str(caught.value)
