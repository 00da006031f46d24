"""Our runs against transformers' own generate, over kinds of models and kinds of schedules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM as Auto
from transformers import MambaConfig, T5Config

from fairdraft import LLM, SamplingParams
from fairdraft.config import EngineConfig
from fairdraft.draft import Draft
from fairdraft.engine.engine import Engine
from fairdraft.errors import CheckpointError
from fairdraft.kv import KVStorage, LayerShape
from fairdraft.models import FlatBatch, ModelRunner
from fairdraft.models import attention as attention_module
from fairdraft.models import runner as runner_module
from fairdraft.models.attention import PagedAttention
from fairdraft.models.padded_attention import PaddedAttention
from fairdraft.models.runner import refuse_unsupported
from fairdraft.proposers import Proposer
from fairdraft.request import Request
from fairdraft.sampling.sampler import DraftNoise

KINDS = ["llama", "qwen3", "mistral", "gemma2", "gemma3_text", "gpt2"]
Tiny = Callable[[str], Path]
PROMPTS = [[(5 * i + 3 * j * j) % 300 + 2 for j in range(4 + 9 * i)] for i in range(5)]
GREEDY = SamplingParams(temperature=0, max_tokens=30, ignore_eos=True)
NGRAM = {"method": "ngram", "num_speculative_tokens": 4, "prompt_lookup_max": 2}
NGRAM["prompt_lookup_min"] = 1


def reference(folder: Path, count: int = 30) -> list[list[int]]:
    """What transformers generates greedily, one prompt at a time."""
    model = Auto.from_pretrained(folder, dtype=torch.float32).eval()
    texts = []
    for prompt in PROMPTS:
        out = model.generate(
            torch.tensor([prompt]),
            max_new_tokens=count,
            min_new_tokens=count,
            do_sample=False,
            eos_token_id=None,
        )
        texts.append(out[0, len(prompt) :].tolist())
    return texts


class Prompter(Proposer):
    """Drafts what it was told the text will be, with every fifth token wrong."""

    def __init__(self, k: int, texts: list[list[int]]) -> None:
        super().__init__(k)
        self.texts = {tuple(p): p + t for p, t in zip(PROMPTS, texts, strict=True)}

    def propose(
        self,
        requests: Sequence[Request],
        budgets: Sequence[int],
        slots: Sequence[Sequence[int]],
        noise: DraftNoise,
    ) -> list[Draft]:
        drafts = []
        for request, budget in zip(requests, budgets, strict=True):
            start = request.num_tokens
            right = self.texts[request.prompt_token_ids][start : start + budget]
            wrong = [t if (start + i) % 5 else (t + 1) % 320 for i, t in enumerate(right)]
            drafts.append(Draft(tuple(wrong)))
        return drafts


def run(folder: Path, proposer: Proposer | None, **options: Any) -> tuple[Engine, list[list[int]]]:
    """Every prompt through an engine; the last one begins when others are half done."""
    model = Auto.from_pretrained(folder, dtype=torch.float32)
    engine = Engine(EngineConfig(str(folder), **options), ModelRunner(model), proposer=proposer)
    requests = [engine.add_request(prompt, GREEDY) for prompt in PROMPTS[:-1]]
    for _ in range(3):
        engine.step()
    requests.append(engine.add_request(PROMPTS[-1], GREEDY))
    while engine.has_unfinished_requests:
        engine.step()
    return engine, [request.output_token_ids for request in requests]


SCHEDULES: dict[str, dict[str, Any]] = {
    "roomy": {},
    "one stream": {"max_num_seqs": 1},
    "chunked": {"max_num_batched_tokens": 11, "max_num_seqs": 4},
    "preempting": {"num_gpu_blocks_override": 16, "block_size": 8},
}


@pytest.mark.parametrize("kind", KINDS)
def test_greedy_equals_transformers(kind: str, tiny: Tiny) -> None:
    expected = reference(tiny(kind))
    assert len({token for text in expected for token in text}) > 20, "the model says nothing"
    assert run(tiny(kind), None)[1] == expected
    for schedule, options in SCHEDULES.items():
        engine, texts = run(tiny(kind), Prompter(4, expected), **options)
        assert texts == expected, schedule
        assert engine.counters.num_accepted_tokens > 0
        assert engine.counters.num_rejections > 0
        if schedule == "preempting":
            assert engine.scheduler.num_preemptions > 0


def take_cudas_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run models' own modules and torch's attention, on CPU."""
    monkeypatch.setattr(runner_module, "can_fuse", lambda _model: False)
    monkeypatch.setattr(attention_module, "FORMATS", {})


@pytest.mark.parametrize("kind", ["llama", "gemma2", "gemma3_text"])
def test_torch_attention_equals_transformers(
    kind: str, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_cudas_way(monkeypatch)
    expected = reference(tiny(kind))
    assert run(tiny(kind), Prompter(4, expected))[1] == expected


def test_mask_off_by_one_is_caught(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row that sees the row behind it changes the text."""
    visible = PaddedAttention._visible

    def faulty(self: PaddedAttention, number: int, window: int | None) -> Any:
        seen = visible(self, number, window)
        more = seen.clone()
        more[..., 1:] |= seen[..., :-1]
        return more

    take_cudas_way(monkeypatch)
    monkeypatch.setattr(PaddedAttention, "_visible", faulty)
    expected = reference(tiny("llama"))
    assert run(tiny("llama"), Prompter(4, expected))[1] != expected


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_sampled_output_is_the_same_on_and_off(kind: str, tiny: Tiny) -> None:
    def texts(llm: LLM, params: SamplingParams) -> list[list[int]]:
        outputs = llm.generate([{"prompt_token_ids": p} for p in PROMPTS], params)
        return [output.outputs[0].token_ids for output in outputs]

    params = SamplingParams(
        temperature=0.8, top_p=0.95, seed=1, max_tokens=30, frequency_penalty=0.3
    )
    off = LLM(str(tiny(kind)), dtype="float32")
    on = LLM(str(tiny(kind)), dtype="float32", speculative_config=NGRAM)
    assert texts(on, params) == texts(off, params)


def batch(tokens: list[int], start: int = 0, **changes: Any) -> FlatBatch:
    """Rows of one request whose blocks lie in reverse order."""
    rows = torch.arange(start, start + len(tokens))
    table = list(range(7, -1, -1))
    slots = torch.tensor(table)[rows // 4] * 4 + rows % 4
    values: dict[str, Any] = {
        "token_ids": torch.tensor(tokens),
        "positions": rows,
        "slots": slots,
        "cu_rows": [0, len(tokens)],
        "context_lens": [start],
        "block_tables": [table],
        "block_size": 4,
        "logit_rows": torch.arange(len(tokens)),
    }
    return FlatBatch(**(values | changes))


@pytest.mark.parametrize("kind", KINDS)
def test_hidden_states_are_those_of_transformers(kind: str, tiny: Tiny) -> None:
    model = Auto.from_pretrained(tiny(kind), dtype=torch.float32).eval()
    tokens = [7, 70, 170, 17, 3, 99]
    with torch.inference_mode():
        expected = model(torch.tensor([tokens]), output_hidden_states=True)
    runner = ModelRunner(Auto.from_pretrained(tiny(kind), dtype=torch.float32))
    runner.allocate(32)
    layers = (0, 2, 4)
    output = runner.run(batch(tokens), layers)
    assert set(output.hidden) == set(layers)
    for layer in layers:
        torch.testing.assert_close(
            output.hidden[layer], expected.hidden_states[layer][0], atol=2e-4, rtol=2e-4
        )
    torch.testing.assert_close(output.logits, expected.logits[0], atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_wanted_rows_get_logits(kind: str, tiny: Tiny) -> None:
    runner = ModelRunner(Auto.from_pretrained(tiny(kind), dtype=torch.float32))
    runner.allocate(32)
    tokens = [7, 70, 170, 17, 3, 99]
    full = runner.run(batch(tokens)).logits
    some = runner.run(batch(tokens, logit_rows=torch.tensor([1, 4]))).logits
    torch.testing.assert_close(some, full[[1, 4]])
    assert runner.run(
        batch(tokens, logit_rows=torch.tensor([], dtype=torch.int64))
    ).logits.shape == (
        0,
        runner.vocab_size,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_branches_of_a_tree_equal_chains(kind: str, tiny: Tiny) -> None:
    """A tree in one run gives each node the logits of its own path."""
    runner = ModelRunner(Auto.from_pretrained(tiny(kind), dtype=torch.float32))
    runner.allocate(32)
    prompt = [7, 70, 170, 17, 3, 99, 42, 8]
    runner.run(batch(prompt))
    # root 50 → 51, 52; 51 → 53
    tree, depth = [50, 51, 52, 53], [0, 1, 1, 2]
    ancestors = torch.tensor([[1, 0, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0], [1, 1, 0, 1]]).bool()
    positions = torch.tensor(depth) + len(prompt)
    run = runner.run(batch(tree, 8, positions=positions, ancestors={0: ancestors})).logits
    for path in ([0, 1, 3], [0, 2]):
        runner.run(batch(prompt))
        chain = runner.run(batch([tree[i] for i in path], 8)).logits
        torch.testing.assert_close(run[path], chain, atol=1e-4, rtol=1e-4)


def test_move_puts_an_accepted_branch_in_place(tiny: Tiny) -> None:
    runner = ModelRunner(Auto.from_pretrained(tiny("llama"), dtype=torch.float32))
    runner.allocate(32)
    prompt = [7, 70, 170, 17]
    runner.run(batch(prompt))
    ancestors = torch.tensor([[1, 0, 0], [1, 1, 0], [1, 0, 1]]).bool()
    tree = batch([50, 51, 52], 4, positions=torch.tensor([4, 5, 5]), ancestors={0: ancestors})
    runner.run(tree)
    assert isinstance(runner.storage, KVStorage)
    runner.storage.move(tree.slots[2:3], tree.slots[1:2])
    after = runner.run(batch([60], 6)).logits
    runner.run(batch(prompt))
    runner.run(batch([50, 52], 4))
    torch.testing.assert_close(after, runner.run(batch([60], 6)).logits, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rows_do_not_depend_on_their_neighbours(dtype: torch.dtype, tiny: Tiny) -> None:
    """Up to 16 rows a step, results are bitwise the same however many rows run together."""
    runner = ModelRunner(Auto.from_pretrained(tiny("llama"), dtype=dtype))
    runner.allocate(32)
    tokens = [(11 * i) % 300 for i in range(16)]
    together = runner.run(batch(tokens)).logits
    for chunk in (1, 2, 5, 7):
        parts = [runner.run(batch(tokens[i : i + chunk], i)).logits for i in range(0, 16, chunk)]
        assert torch.equal(torch.cat(parts), together)


@pytest.mark.parametrize("softcap", [None, 3.0])
@pytest.mark.parametrize("window", [None, 5])
def test_attention_kernel_equals_torch(
    softcap: float | None, window: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    storage = KVStorage([LayerShape(2, 32, 80, window)], 32, torch.float32, torch.device("cpu"))
    storage.keys[0].normal_()
    storage.values[0].normal_()
    rows = batch([1, 2, 3, 4, 5], 13)
    mask = torch.tensor([[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [1, 0, 1, 0, 0]]).bool()
    mask = torch.cat([mask, torch.tensor([[1, 1, 0, 1, 0], [1, 0, 1, 0, 1]]).bool()])
    tree = batch(
        [1, 2, 3, 4, 5],
        13,
        positions=torch.tensor([13, 14, 14, 15, 15]),
        ancestors={0: mask},
    )
    queries = torch.randn(5, 6, 32)
    for step in (rows, tree):
        ours = PagedAttention(storage, step).attend(0, queries, 0.3, softcap)
        with monkeypatch.context() as patch:
            patch.setattr(attention_module, "FORMATS", {})
            theirs = PagedAttention(storage, step).attend(0, queries, 0.3, softcap)
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_unsupported_models_are_refused_by_name() -> None:
    mamba = Auto.from_config(
        MambaConfig(hidden_size=32, num_hidden_layers=2, vocab_size=50, state_size=4)
    )
    with pytest.raises(CheckpointError, match="mamba"):
        refuse_unsupported(mamba)

    class EncoderDecoder:
        config = T5Config(vocab_size=20, d_model=8)

    with pytest.raises(CheckpointError, match=r"t5.*encoder-decoder"):
        refuse_unsupported(EncoderDecoder())
