"""`fairdraft generate` says what `LLM.generate` says."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from fairdraft import LLM, SamplingParams
from fairdraft.cli.render import Kind, Painter, escaped, rich_text

Run = Callable[..., tuple[int, str, str]]
NGRAM = {"method": "ngram", "num_speculative_tokens": 4, "prompt_lookup_min": 1}
STRUCK = re.compile(r"\x1b\[[\d;]*9[\d;]*m.*?\x1b\[0m", re.DOTALL)
COLOUR = re.compile(r"\x1b\[(32|0)m")


@pytest.fixture(scope="module")
def llm(tiny: str) -> LLM:
    return LLM(tiny, dtype="float32", speculative_config=NGRAM)


@pytest.fixture
def generate(fairdraft: Run, tiny: str) -> Run:
    def run(*args: str) -> tuple[int, str, str]:
        config = json.dumps(NGRAM)
        fixed = ("--model", tiny, "--dtype", "float32", "--speculative-config", config)
        return fairdraft("generate", *fixed, "--max-tokens", "60", *args)

    return run


def expected(llm: LLM, prompt: str, **params: float) -> tuple[str, list[int]]:
    chosen = SamplingParams(**{"temperature": 0, "max_tokens": 60, **params})  # type: ignore[arg-type]
    output = llm.chat([{"role": "user", "content": prompt}], chosen)[0].outputs[0]
    return output.text, output.token_ids


def test_json_is_all_of_stdout_and_holds_the_tokens(generate: Run, llm: LLM) -> None:
    code, out, _ = generate("abc abc abc", "--json")
    result = json.loads(out)
    assert code == 0
    assert (result["text"], result["token_ids"]) == expected(llm, "abc abc abc")
    assert result["finish_reason"] == "length"
    assert result["spec"]["num_accepted_tokens"] > 0
    assert result["seconds"] > 0


def test_sampling_options_reach_the_engine(generate: Run, llm: LLM) -> None:
    params = {"temperature": 0.7, "top_p": 0.9, "top_k": 50, "min_p": 0.01, "seed": 5}
    options = [f"--{name.replace('_', '-')}={value}" for name, value in params.items()]
    _, out, _ = generate("abc", "--json", *options)
    assert json.loads(out)["token_ids"] == expected(llm, "abc", **params)[1]


def test_no_chat_leaves_the_prompt_as_it_is(generate: Run, llm: LLM) -> None:
    _, out, _ = generate("abc", "--no-chat", "--json")
    output = llm.generate("abc", SamplingParams(temperature=0, max_tokens=60))[0]
    assert json.loads(out)["token_ids"] == output.outputs[0].token_ids


def test_no_spec_says_the_same_without_drafts(generate: Run, llm: LLM) -> None:
    _, out, _ = generate("abc abc abc", "--no-spec", "--json")
    result = json.loads(out)
    assert result["token_ids"] == expected(llm, "abc abc abc")[1]
    assert result["spec"]["num_drafts"] == 0


def test_the_text_is_plain_where_there_is_no_terminal(generate: Run, llm: LLM) -> None:
    code, out, err = generate("abc abc abc")
    assert (code, out) == (0, expected(llm, "abc abc abc")[0] + "\n")
    assert re.search(
        r"^60 tokens, [\d.]+ tokens/s, mean acceptance length .* rate \d+%$", err, re.M
    )


def test_colours_add_nothing_but_struck_out_drafts(
    generate: Run, llm: LLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    text = expected(llm, "abc abc abc")[0] + "\n"
    _, out, _ = generate("abc abc abc")
    assert STRUCK.search(out)
    assert COLOUR.search(STRUCK.sub("", out))
    assert COLOUR.sub("", STRUCK.sub("", out)) == text
    assert generate("abc abc abc", "--no-color")[1] == text
    monkeypatch.setenv("NO_COLOR", "1")
    assert generate("abc abc abc")[1] == text


def test_a_prompt_from_stdin(generate: Run, llm: LLM, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("abc abc\n"))
    assert generate("-")[1] == expected(llm, "abc abc")[0] + "\n"


def test_a_trace_has_a_line_per_step(generate: Run, tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    _, out, _ = generate("abc abc abc", "--json", "--trace", str(path))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(lines) == json.loads(out)["spec"]["num_steps"]


@pytest.mark.parametrize("stop", [[], ["N"], ["zzzzzzz"]])
def test_pieces_are_the_output_whatever_is_held_back(llm: LLM, stop: list[str]) -> None:
    params = SamplingParams(temperature=0, max_tokens=80, stop=stop)
    painter = Painter(llm.tokenizer)
    pieces = [each for event in llm.stream("abc abc abc", params) for each in painter.pieces(event)]
    text = llm.generate("abc abc abc", params)[0].outputs[0].text
    assert "".join(said for kind, said in pieces if kind is not Kind.REJECTED) == text
    assert rich_text(pieces, colour=False).plain.count("[") == text.count("[")
    assert COLOUR.sub("", STRUCK.sub("", escaped(pieces))) == text


def test_kinds_follow_the_verdicts(llm: LLM) -> None:
    painter = Painter(llm.tokenizer)
    params = SamplingParams(temperature=0, max_tokens=80)
    lengths = dict.fromkeys(Kind, 0)
    rejections = 0
    for event in llm.stream("abc abc abc", params):
        rejections += event.num_accepted < len(event.draft_token_ids)
        for kind, said in painter.pieces(event):
            lengths[kind] += 1 if kind is Kind.REJECTED else len(said)
    assert lengths[Kind.REJECTED] == rejections > 0
    assert lengths[Kind.ACCEPTED] > 0
    assert lengths[Kind.TARGET] > 0
