"""From prompts to a head that the engine loads; every part gone on from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from fairdraft import LLM
from fairdraft.cli.main import main
from fairdraft.errors import TrainingError
from fairdraft.training.answers import read_answers, self_written_prompts, write_answers
from fairdraft.training.states import hidden_states, read_samples, write_states

MASK = ["--mask-token-id", "300"]  # the tiny tokenizer has none to spare


@pytest.fixture(scope="module")
def llm(six_layers: Path) -> LLM:
    return LLM(str(six_layers), dtype="float32", max_num_seqs=4)


def test_answers_are_gone_on_from(llm: LLM, tmp_path: Path) -> None:
    prompts = [[i, i + 1, i + 2] for i in range(5)]
    whole = write_answers(llm, prompts, tmp_path / "whole.jsonl", 6)
    path = tmp_path / "torn.jsonl"
    write_answers(llm, prompts[:2], path, 6)
    with path.open("a") as file:
        file.write('{"prompt": [2, 3], "answer": [4]}')  # killed before the line's end
    assert len(list(read_answers(path))) == 2
    assert write_answers(llm, prompts, path, 6) == whole
    assert path.read_text() == (tmp_path / "whole.jsonl").read_text()
    with pytest.raises(TrainingError, match="answers to other prompts"):
        write_answers(llm, [[9, 9]], path, 6)


def test_questions_the_target_asks_itself(llm: LLM, tmp_path: Path) -> None:
    path = tmp_path / "questions.jsonl"
    prompts = self_written_prompts(llm, 6, path)
    assert len(list(read_answers(path))) == 6
    opening = llm.tokenizer.encode("user: ", add_special_tokens=False)
    assert all(prompt[: len(opening)] == opening for prompt in prompts)


def test_states_are_those_of_the_target(llm: LLM, tmp_path: Path) -> None:
    prompts = [[i + 3, 7, 9, i] for i in range(3)]
    texts = write_answers(llm, prompts, tmp_path / "a.jsonl", 5)
    (path,) = write_states(llm.runner, texts, (2, 3), tmp_path)
    samples = list(read_samples(path))
    for text, sample in zip(texts, samples, strict=True):
        assert sample.token_ids.tolist() == list(text.token_ids)
        assert sample.prompt_length == 4
        alone = hidden_states(llm.runner, [text.token_ids], (2, 3, 6))
        states = torch.cat([alone[2], alone[3]], -1)
        torch.testing.assert_close(sample.states, states, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(sample.final, alone[6], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("method", "own"),
    [
        ("eagle3", ["--passes", "2"]),
        ("dflash", ["--num-states", "2", "--num-layers", "1", "--block-size", "4", *MASK]),
        ("draft-model", ["--num-layers", "2", "--intermediate-size", "32"]),
    ],
)
def test_the_command_trains_a_head_that_drafts(
    method: str, own: list[str], six_layers: Path, tmp_path: Path
) -> None:
    data = tmp_path / "prompts.jsonl"
    data.write_text("".join(json.dumps({"prompt": f"say {i}"}) + "\n" for i in range(24)))
    out = tmp_path / "out"
    options = ["--model", str(six_layers), "--out", str(out), "--data", str(data)]
    options += ["--held-out", str(data), "--max-tokens", "12", "--draft-vocab-size", "128"]
    options += ["--epochs", "2", "--batch-tokens", "256", *own, "--texts", str(tmp_path / "texts")]
    with pytest.raises(SystemExit) as caught:
        main(["train", method, *options])
    assert caught.value.code in (0, None)
    learnt = [text.prompt for text in read_answers(tmp_path / "texts" / "answers.jsonl")]
    assert len(learnt) == 24 - 8  # those held out are not learnt from
    log = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert log[-1]["measured"]["counters"]["num_draft_tokens"]
    card = (out / "head" / "card.md").read_text()
    assert "Learnt from 16 texts" in card
    assert "| 1 | " in card
    assert (out / "head" / "loss.png").stat().st_size > 1_000
    speculative = {"method": method.replace("-", "_"), "num_speculative_tokens": 3}
    speculative["model"] = str(out / "head")
    plain, on = (
        LLM(str(six_layers), dtype="float32", speculative_config=config).generate("hello")
        for config in (None, speculative)
    )
    assert on[0].outputs[0].token_ids == plain[0].outputs[0].token_ids
    assert on[0].spec.num_draft_tokens


def test_a_folder_is_not_mixed_up(six_layers: Path, tmp_path: Path) -> None:
    """More data, other passes, another target: each is told, none is trained on half-way."""
    data = tmp_path / "prompts.jsonl"
    data.write_text("".join(json.dumps({"prompt": f"say {i}"}) + "\n" for i in range(9)))
    common = ["train", "medusa", "--out", str(tmp_path / "out"), "--data", str(data)]
    common += ["--max-tokens", "8", "--draft-vocab-size", "64", "--epochs", "1"]
    other = tmp_path / "other.jsonl"
    other.write_text('{"prompt": "tell me"}')
    common += ["--held-out", str(other)]
    own = ["--model", str(six_layers), "--limit", "5"]
    with pytest.raises(SystemExit) as caught:
        main([*common, *own])
    assert not caught.value.code
    for changed in (["--model", str(six_layers), "--limit", "9"], [*own, "--num-heads", "2"]):
        with pytest.raises(SystemExit) as caught:
            main([*common, *changed])
        assert caught.value.code == 2
    with pytest.raises(SystemExit) as caught:
        main([*common, "--model", "demo"])
    assert caught.value.code == 2


def test_a_mask_is_asked_for_where_no_token_is_free(
    six_layers: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--self-written", "3", "--draft-vocab-size", "9", "--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as caught:
        main(["train", "dflash", "--model", str(six_layers), *words])
    assert caught.value.code == 2
    assert "name one with --mask-token-id" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--self-written", "3", "--intermediate-size", "-5"], "--intermediate-size is -5"),
        (["--data", "/nowhere/x.jsonl"], "neither a file nor a dataset"),
        ([], "no prompts to learn from"),
        (["--self-written", "3", "--draft-vocab-size", "999"], "draft_vocab_size is 999"),
        (["--self-written", "3", "--draft-vocab-size", "9"], "a held-out prompt and its answer"),
        (["--self-written", "3", "--measure-every", "0"], "measure_every is 0"),
        (["--self-written", "3", "--passes", "0", "--draft-vocab-size", "9"], "--passes is 0"),
    ],
)
def test_what_does_not_fit_is_told_before_any_work(
    options: list[str],
    said: str,
    six_layers: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    with pytest.raises(SystemExit) as caught:
        main(["train", "eagle3", "--model", str(six_layers), "--out", str(out), *options])
    assert caught.value.code == 2
    assert said in capsys.readouterr().err
    assert not out.exists()
