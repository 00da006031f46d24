"""Bad input ends with `error: message` on stderr and code 2, never with a traceback."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["generate", "hi", "--model", "/nowhere/at/all"], "'/nowhere/at/all' does not exist"),
        (["generate", "hi", "-k", "0"], "num_speculative_tokens is 0"),
        (["generate", "hi", "--temperature", "-1"], "temperature is -1"),
        (["generate", "hi", "--top-p", "0"], "top_p is 0"),
        (["generate", "hi", "--dtype", "int3"], "dtype is 'int3'"),
        (["generate", "hi", "--speculative-config", "{"], "not JSON"),
        (["generate", "hi", "--speculative-config", '{"k": 2}'], "lacks 'method'"),
        (["generate", "hi", "--speculative-config", "[]"], "must be an object"),
        (
            ["generate", "hi", "--speculative-config", '{"method": "ngram", "method": "off"}'],
            "the key 'method' twice",
        ),
        (["generate", "hi", "--trace", "/nowhere/t"], "--trace is '/nowhere/t', which cannot"),
        (["demo", "--svg", "/nowhere/x.svg"], "--svg is '/nowhere/x.svg', which cannot"),
        (["train", "eagle3", "--draft-vocab-size", "0"], "at least 1: 4096 is usual"),
        (["train", "medusa", "--out", "/proc/x"], "--out is '/proc/x', which cannot"),
        (["train", "dflash", "--target", "demo"], "the option is called --model now"),
        (["generate", ""], "the prompt is empty"),
        (["generate", " \n"], "the prompt is empty"),
        (["generate", "caf\udce9"], "not UTF-8"),
        (["demo", "--method", "none"], "--method is 'none'"),
        (["demo", "--rounds", "0"], "--rounds is 0"),
        (["bench", "run", "humanevil"], "humaneval, gsm8k, mt_bench"),
        (["bench", "run", "gsm8k", "--k", "1,x"], "--k is '1,x'"),
        (["bench", "run", "gsm8k", "--k", "0"], "--k is 0"),
        (["bench", "run", "gsm8k", "--methods", ","], "--methods is empty"),
        (["bench", "run", "gsm8k", "--concurrency", "3"], "multiple of --concurrency 3"),
        (["bench", "run", "gsm8k", "--num-prompts", "64"], "holds 40 prompts"),
        (["bench", "run", "gsm8k", "--out", "/nowhere/x.json"], "cannot be written"),
        (["bench", "plot", "/nowhere/x.json"], "cannot be read"),
        (["reconcile", "/nowhere/x.json", "--profile", "p"], "'/nowhere/x.json' cannot be read"),
        (["replay", "/nowhere/t", "--method", "ngram", "--profile", "p"], "cannot be read"),
    ],
)
def test_values_out_of_range(fairdraft: Run, args: list[str], message: str) -> None:
    code, out, err = fairdraft(*args)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert message in err
    assert "Traceback" not in err


def test_an_unknown_method_lists_the_known_ones(fairdraft: Run, tiny: str) -> None:
    code, _, err = fairdraft("generate", "hi", "--model", tiny, "--method", "oracle")
    assert code == 2
    assert "'oracle' is unknown" in err
    assert "ngram" in err


def test_a_prompt_that_is_too_long(fairdraft: Run, tiny: str) -> None:
    code, out, err = fairdraft("generate", "x" * 600, "--model", tiny)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")


def test_a_corrupt_gguf_file(fairdraft: Run, tmp_path: Path) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(b"GGUF" + bytes(64))
    code, _, err = fairdraft("generate", "hi", "--model", str(path))
    assert code == 2
    assert "cannot be read as GGUF" in err


def test_a_file_that_is_no_benchmark(fairdraft: Run, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("[]")
    code, _, err = fairdraft("bench", "plot", str(path))
    assert code == 2
    assert "no result of a benchmark" in err


def test_an_unknown_option(fairdraft: Run) -> None:
    code, _, err = fairdraft("generate", "hi", "--colour-of-the-sky")
    assert code == 2
    assert "No such option" in err


def test_help_and_version(fairdraft: Run) -> None:
    code, out, _ = fairdraft("--help")
    assert code == 0
    assert all(verb in out for verb in ("generate", "demo", "bench"))
    assert fairdraft("--version")[:2] == (0, "0.1.0\n")
