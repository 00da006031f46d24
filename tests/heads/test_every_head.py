"""What every kind of head must do, whatever it is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM as Auto

from fairdraft import SamplingParams
from fairdraft.config import EngineConfig, SpeculativeConfig
from fairdraft.engine.engine import Engine
from fairdraft.errors import CheckpointError, ConfigError, ProposerError
from fairdraft.heads import KINDS, Batch, kind_of, load_head, read_head_file
from fairdraft.heads.mtp import load_mtp, read_mtp
from fairdraft.models import ModelRunner
from fairdraft.proposers import Settled, build_proposer
from fairdraft.testing import check_proposer
from tests.conftest import tiny_tokenizer, write_tiny
from tests.heads.cases import CASES, MOST, Case, acceptance_length, run_checked
from tests.heads.samples import sample_of

Tiny = Callable[[str], Path]
Write = Callable[[Case], Path]
BY_KIND = {case.kind: case for case in CASES}
every = pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])


@pytest.fixture
def written(tiny: Tiny, tmp_path: Path) -> Write:
    """`written(case)`: folder of a random head."""

    def write(case: Case) -> Path:
        case.write(tiny("llama"), tmp_path / "head")
        return tmp_path / "head"

    return write


def load(case: Case, tiny: Tiny, folder: Path) -> Any:
    target = Auto.from_pretrained(tiny("llama"), dtype=torch.float32)
    if case.in_target:
        return load_mtp(read_mtp(str(folder), target.config), target)
    return load_head(read_head_file(str(folder)), target)


def weights(folder: Path) -> Path:
    """The file that the head's tensors lie in."""
    path = folder / "mtp.safetensors"
    return path if path.exists() else folder / "model.safetensors"


def test_every_kind_is_here() -> None:
    assert {case.kind for case in CASES} == set(KINDS)
    assert {case.kind for case in CASES if case.training} == {
        name for name, kind in KINDS.items() if kind.training
    }


# --- files


@every
def test_what_is_written_is_read_back(case: Case, tiny: Tiny, written: Write) -> None:
    folder = written(case)
    head = load(case, tiny, folder).state_dict()
    stored = load_file(weights(folder))
    name, ours = case.tensor
    assert torch.equal(head[ours], stored[name].float())
    assert all(tensor.isfinite().all() for tensor in head.values())
    shared = head.keys() & stored.keys()
    assert all(torch.equal(head[n], stored[n].to(head[n].dtype)) for n in shared)
    assert case.in_target or kind_of(read_head_file(str(folder))) == case.kind


@every
@pytest.mark.parametrize("fault", ["missing", "of another shape", "unknown"])
def test_tensors_that_do_not_fit_are_named_with_their_shapes(
    fault: str, case: Case, tiny: Tiny, written: Write
) -> None:
    folder = written(case)
    tensors = load_file(weights(folder))
    name, ours = case.tensor
    shape = list(tensors[name].shape)
    if fault == "missing":
        del tensors[name]
        said = [f"lacks the tensor {ours!r}", f"should be {shape}"]
    elif fault == "unknown":
        tensors[f"{name}.extra"] = torch.zeros(3)
        said = ["has a tensor", ".extra'", "[3]"]
    else:
        tensors[name] = torch.zeros(shape[0] + 1, shape[1])
        said = [f"{ours!r} is {[shape[0] + 1, shape[1]]} in the file", f"but {shape} by"]
    save_file(tensors, weights(folder))
    with pytest.raises(CheckpointError) as caught:
        load(case, tiny, folder)
    assert all(words in str(caught.value) for words in said), caught.value


@every
def test_a_head_of_another_target_is_refused(
    case: Case, written: Write, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = written(case)
    other = write_tiny(tmp_path_factory.mktemp("other"), "llama", hidden_size=128)
    runner = ModelRunner(Auto.from_pretrained(other), tokenizer=tiny_tokenizer(), name=str(other))
    if case.in_target:
        save_file(load_file(weights(folder)), other / "mtp.safetensors")
    with pytest.raises(CheckpointError, match=r"128|64"):
        case.proposer(2, **case.options(folder)).bind(runner)


# --- drafting


@every
@pytest.mark.parametrize("k", [1, 3, MOST])
def test_a_perfect_head_is_always_accepted(k: int, case: Case, tmp_path: Path) -> None:
    assert acceptance_length(case, k, tmp_path) == k + 1


SCHEDULES = [
    {},
    {"engine": {"num_gpu_blocks_override": 24, "max_num_batched_tokens": 7}},
    {"draft_tree_top_k": 2, "draft_tree_depth": 3},
    {"draft_sample_method": "probabilistic", "k": 2, "engine": {"max_num_seqs": 1}},
]


@every
@pytest.mark.parametrize("options", SCHEDULES)
def test_its_logits_are_those_of_a_plain_computation(
    options: dict[str, Any], case: Case, tiny: Tiny, written: Write
) -> None:
    """Under every schedule, in chains and trees, whatever was accepted, rejected, preempted."""
    assert run_checked(case, tiny("llama"), written(case), **options) > 60


@every
def test_hidden_states_one_position_off_are_caught(
    case: Case, tiny: Tiny, written: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the comparison can fail."""
    if case.kind == "draft_model":
        pytest.skip("it reads tokens, no hidden states: its faults are in its proposer's tests")
    folder = written(case)
    proposer = case.proposer(2, **case.options(folder))
    proposer.bind(case.target(tiny("llama"), folder))
    drafter = type(proposer.drafter)
    observe = drafter.observe

    def faulty(self: Any, rows: Settled) -> None:
        observe(self, replace(rows, hidden={i: h.roll(1, 0) for i, h in rows.hidden.items()}))

    monkeypatch.setattr(drafter, "observe", faulty)
    with pytest.raises(ProposerError, match="not what a plain computation says"):
        run_checked(case, tiny("llama"), folder)


@pytest.mark.parametrize("case", [BY_KIND[kind] for kind in KINDS], ids=lambda case: case.kind)
@pytest.mark.parametrize(
    "options", [{"draft_sample_method": "probabilistic"}, {"draft_tree_top_k": 2}]
)
def test_it_passes_the_suite(
    options: dict[str, Any], case: Case, tiny: Tiny, written: Write
) -> None:
    folder = written(case)
    report = check_proposer(
        case.proposer,
        runner=lambda: case.target(tiny("llama"), folder, few_tokens=True),
        draws=400,
        **case.options(folder),
        **options,
    )
    assert report.drafted
    assert report.accepted
    assert report.deterministic == ("draft_sample_method" not in options)


@every
def test_unknown_keys_are_answered_with_those_that_there_are(case: Case) -> None:
    with pytest.raises(ConfigError, match="unknown key 'typo'") as caught:
        build_proposer(SpeculativeConfig.of({"method": case.kind, "typo": 1}))  # type: ignore[arg-type]
    takes = str(caught.value).partition("takes")[2]
    assert ("model" in takes) != case.in_target
    for key in ("sample_method", "confidence_threshold", "tree_top_k", "tree_depth"):
        assert f"draft_{key}" in takes


# --- training


@pytest.mark.parametrize("case", [case for case in CASES if case.training], ids=lambda c: c.name)
def test_training_begins_learns_and_saves_what_drafts(
    case: Case, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = write_tiny(
        tmp_path_factory.mktemp("six-layers"), "llama", 5, num_hidden_layers=6, layer_types=None
    )
    target = Auto.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    assert case.training is not None
    training = case.training(target)
    torch.manual_seed(0)
    known = torch.arange(0, 320, 2)
    training.initialise(known)
    text = [(5 * i * i + 3 * i) % 250 for i in range(40)]
    batch = Batch.of([sample_of(target, text, 4, training.layer_ids)], torch.device("cpu"))
    learning = [p for p in training.head.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=3e-3)
    losses: list[Tensor] = []
    for step in range(40):
        found = training.loss(batch, step)
        losses.append(found.total.detach())
        optimizer.zero_grad()
        found.total.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])
    training.save(tmp_path)
    file = read_head_file(str(tmp_path))
    assert kind_of(file) == training.kind == case.kind
    k = min(3, training.longest_draft or 3)
    runner = ModelRunner(Auto.from_pretrained(folder, dtype=torch.float32), name=str(folder))
    proposer = case.proposer(k, str(tmp_path))
    engine = Engine(EngineConfig("tiny", max_model_len=64), runner, proposer=proposer)
    engine.add_request(text[:9], SamplingParams(temperature=0, max_tokens=9, ignore_eos=True))
    while engine.has_unfinished_requests:
        engine.step()
    assert engine.counters.num_draft_tokens
    assert set(load_head(file, runner.model).state_dict()) - {"lm_head.weight"}
