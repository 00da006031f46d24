"""Steps that are replayed: on the CPU a replay runs again, over the same tensors as a graph's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM as Auto

from fairdraft.draft import Draft
from fairdraft.kv import KVStorage
from fairdraft.models import FlatBatch, ModelRunner, RunOutput, ancestor_mask
from fairdraft.models.graphs import MOST_ROWS, SEEN_BEFORE, GraphedSteps, rounded
from fairdraft.models.padded_attention import PaddedAttention

Tiny = Callable[[str], Path]
BLOCK, NUM_BLOCKS = 4, 24
CPU = torch.device("cpu")
TREE = Draft((3, 4, 5), (-1, -1, 0))


def run_again(run: Callable[[], RunOutput]) -> tuple[Callable[[], object], RunOutput]:
    """What a graph does, without one: the output's tensors are written anew by each replay."""
    output = run()

    def replay() -> None:
        new = run()
        output.logits.copy_(new.logits)
        for layer, state in new.hidden.items():
            output.hidden[layer].copy_(state)

    return replay, output


def batch_of(rows: list[int], contexts: list[int], tree: bool = False) -> FlatBatch:
    tables = [list(range(i * 6, i * 6 + 6)) for i in range(len(rows))]
    tokens = [[(7 * i + 3 * j + contexts[i]) % 300 for j in range(n)] for i, n in enumerate(rows)]
    positions = [contexts[i] + j for i, n in enumerate(rows) for j in range(n)]
    ancestors = {}
    if tree:
        first = sum(rows[:1])
        positions[first : first + 4] = [contexts[1] + depth for depth in TREE.depths]
        ancestors = {1: ancestor_mask(1, TREE)}
    wanted = [i for i in range(sum(rows)) if i != 1]
    return FlatBatch.of(
        tokens,
        contexts,
        tables,
        BLOCK,
        CPU,
        positions=positions,
        logit_rows=wanted,
        ancestors=ancestors,
    )


@pytest.mark.parametrize("kind", ["llama", "gemma2"])
@torch.inference_mode()
def test_a_replay_says_what_the_run_says(kind: str, tiny: Tiny) -> None:
    runner = ModelRunner(Auto.from_pretrained(tiny(kind), dtype=torch.float32))
    ours, plain = (
        KVStorage(runner.layers, (NUM_BLOCKS + 1) * BLOCK, torch.float32, CPU) for _ in range(2)
    )
    graphs = GraphedSteps(runner._forward, ours, BLOCK, run_again)
    replayed = 0
    for step in range(12):
        # Rows and trees come and go; three requests are padded to four.
        tree = step % 3 == 2
        rows = [2, 4, 1] if tree else [1 + step % 2, 2, 2]
        batch = batch_of(rows, [step, 2 * step % 17, step // 2], tree)
        layers = (0, 2, 4)
        expected = runner._forward(batch, PaddedAttention(plain, batch), layers)
        got = graphs.run(batch, layers)
        if got is None:
            got = runner._forward(batch, PaddedAttention(ours, batch), layers)
        else:
            replayed += 1
        torch.testing.assert_close(got.logits, expected.logits, atol=2e-4, rtol=1e-4)
        assert got.hidden.keys() == expected.hidden.keys()
        for layer, state in expected.hidden.items():
            torch.testing.assert_close(got.hidden[layer], state, atol=2e-4, rtol=1e-4)
    assert replayed == 12 - 2 * SEEN_BEFORE
    for one, other in zip(ours.keys + ours.values, plain.keys + plain.values, strict=True):
        held = slice(0, NUM_BLOCKS * BLOCK)  # what is padded lands behind
        torch.testing.assert_close(one[held], other[held], atol=2e-4, rtol=1e-4)


def test_a_prompts_chunk_is_no_shape_that_repeats(tiny: Tiny) -> None:
    runner = ModelRunner(Auto.from_pretrained(tiny("llama"), dtype=torch.float32))
    kept = KVStorage(runner.layers, (NUM_BLOCKS + 1) * BLOCK, torch.float32, CPU)
    graphs = GraphedSteps(runner._forward, kept, BLOCK, run_again)
    for _ in range(SEEN_BEFORE + 2):
        assert graphs.run(batch_of([MOST_ROWS + 1], [0]), ()) is None


def test_what_cannot_be_captured_runs_without_and_says_so_once(
    tiny: Tiny, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(run: Callable[[], RunOutput]) -> tuple[Callable[[], object], RunOutput]:
        raise RuntimeError("operation not permitted when stream is capturing")

    runner = ModelRunner(Auto.from_pretrained(tiny("llama"), dtype=torch.float32))
    kept = KVStorage(runner.layers, (NUM_BLOCKS + 1) * BLOCK, torch.float32, CPU)
    graphs = GraphedSteps(runner._forward, kept, BLOCK, refuse)
    with caplog.at_level("WARNING", logger="fairdraft"):
        for _ in range(SEEN_BEFORE + 3):
            assert graphs.run(batch_of([1, 1], [3, 3]), ()) is None
    (record,) = caplog.records
    assert "without CUDA graphs" in record.getMessage()


def test_shapes_are_rounded_up_to_few() -> None:
    assert [rounded(n) for n in (1, 2, 3, 4, 5, 6, 7, 9, 13, 17, 25)] == [
        1, 2, 3, 4, 6, 6, 8, 12, 16, 24, 32,
    ]  # fmt: skip
