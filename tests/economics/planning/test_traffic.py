"""Lengths as users write them, and files that tell them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fairdraft.economics.planning.traffic import Traffic, parse_lengths, read_traffic
from fairdraft.errors import ConfigError


def test_words() -> None:
    assert parse_lengths("--x", "300") == (300,)
    assert parse_lengths("--x", "50,100,800") == (50, 100, 800)
    spread = parse_lengths("--x", "50-800")
    assert np.mean(spread) == pytest.approx(425, abs=1)
    assert 50 <= min(spread) < 60
    assert 790 < max(spread) <= 800
    assert set(parse_lengths("--x", "7-7")) == {7}


@pytest.mark.parametrize("words", ["", "many", "800-50", "1.5", "5-", "1-2-3", "-5", "9" * 5000])
def test_words_that_mean_nothing(words: str) -> None:
    with pytest.raises(ConfigError, match=r"--x is .* must be a number of tokens"):
        parse_lengths("--x", words)


def test_every_length_comes_equally_often_and_pairs_stay_together() -> None:
    prompts, outputs = Traffic((10, 20, 30), (1, 2)).draw(12)
    assert sorted(prompts) == sorted([10, 20, 30] * 4)
    assert sorted(outputs) == sorted([1, 2] * 6)
    prompts, outputs = Traffic((10, 20, 30), (1, 2, 3), paired=True).draw(7, seed=3)
    assert (prompts == 10 * outputs).all()
    again = Traffic((10, 20, 30), (1, 2, 3), paired=True).draw(7, seed=3)
    assert (again[0] == prompts).all()


@pytest.mark.parametrize(
    ("prompts", "outputs", "paired", "message"),
    [
        ((), (1,), False, "no length of a prompt"),
        ((1,), (), False, "no length of an answer"),
        ((0,), (1,), False, "the length of a prompt is 0"),
        ((1,), (2_000_000,), False, "from 1 to 1000000"),
        ((1, 2), (1,), True, "pairs must match"),
    ],
)
def test_traffic_that_cannot_be(
    prompts: tuple[int, ...], outputs: tuple[int, ...], paired: bool, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        Traffic(prompts, outputs, paired)


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text(json.dumps({"input_lens": [5, 6], "output_lens": [7, 8], "duration": 1.0}))
    assert read_traffic(path) == Traffic((5, 6), (7, 8), paired=True)
    assert read_traffic(path, [9]) == Traffic((5, 6), (9,))
    lines = [{"prompt_tokens": 5, "output_tokens": 7}, {"input_len": 6, "output_len": 8}]
    path.write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    assert read_traffic(path) == Traffic((5, 6), (7, 8), paired=True)
    path.write_text('{"prompt_tokens": 5}\n')
    with pytest.raises(ConfigError, match="how long each answer is: add --output-tokens"):
        read_traffic(path)


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", '{"prompt": "hi"}', '{"prompt_tokens": true}'])
def test_files_that_tell_no_lengths(text: str, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text(text)
    assert read_traffic(path, [5]) is None


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"\xff\xfe")
    for each in (path, tmp_path / "nowhere"):
        with pytest.raises(ConfigError, match="cannot be read"):
            read_traffic(each)
