"""Every kind of head: a random one, a perfect one, a plain computation, and how it is trained."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoModelForCausalLM as Auto
from transformers import LlamaConfig, LlamaForCausalLM, Qwen3Config

from fairdraft import SamplingParams
from fairdraft.config import EngineConfig
from fairdraft.engine.engine import Engine
from fairdraft.heads import HeadConfig, HeadTraining, MadeFor, layer_config
from fairdraft.heads.dflash import DFlashConfig, DFlashHead, DFlashTraining, save_dflash
from fairdraft.heads.draft_model import DraftModelTraining, prune, save_pruned
from fairdraft.heads.eagle import EagleHead, save_eagle
from fairdraft.heads.eagle3 import Eagle3Config, Eagle3Head, Eagle3Training, save_eagle3
from fairdraft.heads.medusa import MedusaConfig, MedusaHead, MedusaTraining, save_medusa
from fairdraft.models import ModelRunner
from fairdraft.proposers.draft_model import DraftModelProposer
from fairdraft.proposers.drafting import ModelProposer, Underway
from fairdraft.proposers.heads import (
    DFlashProposer,
    Eagle3Proposer,
    EagleProposer,
    MedusaProposer,
    MTPProposer,
)
from tests.conftest import CONFIGS, prefer_few_tokens, tiny_tokenizer
from tests.heads import plain
from tests.heads.echo import echo_target, follows

TINY = MadeFor("tiny", ("LlamaForCausalLM",))
WORDS = 96  # that random heads can draft
MOST = 4  # tokens that heads of one pass can draft
MASK = 300

# (tensors, config.json, target, text, what is drafted behind it, length of a pass) → [words] logits
Plain = Callable[[dict[str, Tensor], dict[str, Any], Any, list[int], list[int], int], Tensor]


@dataclass(frozen=True)
class Case:
    """A kind of head.

    Args:
        name: of the case.
        kind: of head.
        proposer: who drafts with it.
        write: writes a random one for the tiny Llama; its first argument is the target's folder.
        tensor: a tensor of its file, and the network's name of it.
        plain: what it says, computed plainly.
        perfect: writes one that is always right, for drafts of k tokens; returns its target.
        training: how it is trained for a target; None where it is not.
        in_target: whether its tensors lie in the target's own folder.
    """

    name: str
    kind: str
    proposer: type[ModelProposer]
    write: Callable[[Path, Path], None]
    tensor: tuple[str, str]
    plain: Plain
    perfect: Callable[[int, Path], LlamaForCausalLM]
    training: Callable[[Any], HeadTraining] | None = None
    in_target: bool = False

    def options(self, folder: Path) -> dict[str, Any]:
        """The keys that name its files."""
        return {} if self.in_target else {"model": str(folder)}

    def target(self, tiny: Path, folder: Path, few_tokens: bool = False) -> ModelRunner:
        """The tiny Llama, from the folder with the head's tensors if they lie in the target's.

        Args:
            tiny: the target's folder.
            folder: the head's.
            few_tokens: whether it chooses among few tokens, so that some drafts are accepted.
        """
        own = folder if self.in_target else tiny
        model = Auto.from_pretrained(own, dtype=torch.float32)
        model = prefer_few_tokens(model) if few_tokens else model
        return ModelRunner(model, tokenizer=tiny_tokenizer(), name=str(own))


def shake(network: nn.Module) -> None:
    """Random weights that say something else after every text."""
    for parameter in network.parameters():
        if parameter.dim() > 1:
            nn.init.normal_(parameter, std=0.12)
        else:
            nn.init.uniform_(parameter, 0.5, 1.5)


def known_tokens() -> Tensor:
    return torch.randperm(320)[:WORDS].sort().values


# --- random heads


def tiny_eagle3(**flags: bool) -> Eagle3Head:
    torch.manual_seed(11)
    shape = layer_config(LlamaConfig, CONFIGS["llama"]())
    head = Eagle3Head(Eagle3Config(shape, (1, 2, 3), WORDS, **flags))
    shake(head)
    head.d2t.copy_(known_tokens() - torch.arange(WORDS))
    return head


def write_eagle3(_: Path, folder: Path) -> None:
    save_eagle3(tiny_eagle3(), folder, TINY)


def write_eagle(_: Path, folder: Path) -> None:
    torch.manual_seed(8)
    head = EagleHead(HeadConfig(layer_config(LlamaConfig, CONFIGS["llama"]()), (4,), 320, 64))
    shake(head)
    save_eagle(head, folder)


def write_medusa(_: Path, folder: Path) -> None:
    torch.manual_seed(4)
    head = MedusaHead(MedusaConfig(64, 320, MOST, 2, WORDS))
    for parameter in head.parameters():
        nn.init.normal_(parameter, std=0.12)
    head.token_map.copy_(torch.randperm(320)[:WORDS])
    save_medusa(head, folder, TINY)


def write_dflash(_: Path, folder: Path) -> None:
    torch.manual_seed(6)
    shape = layer_config(Qwen3Config, CONFIGS["llama"](), 2)
    config = DFlashConfig(shape, (1, 3), WORDS, 64, block_size=MOST + 1, mask_token_id=MASK)
    head = DFlashHead(config)
    shake(head)
    head.d2t.copy_(known_tokens() - torch.arange(WORDS))
    save_dflash(head, folder, TINY)


def write_draft_model(target: Path, folder: Path) -> None:
    torch.manual_seed(5)
    model = Auto.from_pretrained(target, dtype=torch.float32)
    save_pruned(prune(model, 2, None, known_tokens()), folder, TINY)


def write_mtp(names: plain.MTPNames, target: Path, folder: Path) -> None:
    """The target, and a random MTP layer beside it."""
    shutil.copytree(target, folder, dirs_exist_ok=True)
    model = Auto.from_pretrained(folder, dtype=torch.float32)
    torch.manual_seed(9)
    own = dict(model.model.layers[0].state_dict())
    own |= {f"{name}.weight": torch.empty(64) for name in names.norms}
    own[f"{names.projection}.weight"] = torch.empty(64, 128)
    for name, tensor in own.items():
        own[name] = torch.randn(tensor.shape) * 0.12 if tensor.dim() > 1 else torch.rand(64) + 0.5
    own["embed_tokens.weight"] = torch.zeros(320, 64)  # a copy that is not read
    save_file({names.prefix + n: t for n, t in own.items()}, folder / "mtp.safetensors")


# --- heads that are right by construction, for the target of which each token has one successor


def blank(network: Any) -> Any:
    """All matrices 0, all norms 1."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_() if parameter.dim() > 1 else parameter.fill_(1)
    return network


def perfect_eagle3(k: int, folder: Path) -> LlamaForCausalLM:
    """Keeps "which token is this" in its state, one further each row; knows words in odd order."""
    model = echo_target()
    size, d = model.config.vocab_size, 64
    shape = layer_config(LlamaConfig, model.config)
    head = blank(Eagle3Head(Eagle3Config(shape, (1, 2, 3), size)))
    with torch.no_grad():
        head.fc.weight[:, :d].copy_(torch.eye(d))
        mlp = head.layers[0].mlp
        mlp.gate_proj.weight.copy_(torch.eye(d))
        mlp.up_proj.weight.copy_(torch.eye(d))
        normed = torch.tensor(float(d)).sqrt()
        step = torch.zeros(d, d)
        step[:size, :size] = follows(size) - torch.eye(size)
        mlp.down_proj.weight.copy_(step / (nn.functional.silu(normed) * normed))
        order = torch.randperm(size, generator=torch.Generator().manual_seed(2))
        head.d2t.copy_(order - torch.arange(size))
        head.lm_head.weight.copy_((follows(size) @ torch.eye(size, d))[order])
    save_eagle3(head, folder, TINY)
    return model


def perfect_eagle(k: int, folder: Path) -> LlamaForCausalLM:
    """Hands the token on as its state; the target's own head says which one follows."""
    model = echo_target()
    head = blank(EagleHead(HeadConfig(layer_config(LlamaConfig, model.config), (4,), 32, 64)))
    with torch.no_grad():
        head.fc.weight[:, :64].copy_(torch.eye(64))
    save_eagle(head, folder)
    return model


def perfect_medusa(k: int, folder: Path) -> LlamaForCausalLM:
    """Head i turns "token x" into "the token i + 1 after x", which the target's head reads."""
    size = 32
    head = MedusaHead(MedusaConfig(64, size, MOST, 1, size))
    head.reset()
    with torch.no_grad():
        step = follows(size)
        for i, block in enumerate(head.blocks):
            block.layers[0].weight[:size, :size] = 8 * torch.linalg.matrix_power(step, i + 1)
        head.lm_head.weight.copy_(step @ torch.eye(size, 64))
    save_medusa(head, folder, TINY)
    return echo_target(size)


def perfect_dflash(k: int, folder: Path) -> LlamaForCausalLM:
    """In layer l each row reads the row before it, and writes the token behind that one's.

    So mask j knows its token from layer j on. Rotation tells rows apart: queries are keys turned by
    one position. The tokens follow each other in three circles; the mask is of one not used.
    """
    size = 24
    model = echo_target(size)
    shape = layer_config(Qwen3Config, model.config, k, attention_bias=True)
    head = blank(
        DFlashHead(DFlashConfig(shape, (1, 2), size, 64, block_size=k + 1, mask_token_id=2))
    )
    angles = 10000 ** -(torch.arange(16) / 16)
    says = follows(size)
    says[:, head.config.mask_token_id] = 0
    with torch.no_grad():
        for layer in head.layers:
            attention = layer.self_attn
            attention.q_proj.bias.copy_(torch.cat([angles.cos(), -angles.sin()]).repeat(2))
            attention.k_proj.bias.copy_(torch.cat([torch.ones(16), torch.zeros(16)]))
            attention.k_norm.weight.fill_(100)
            attention.v_proj.bias.zero_()
            attention.o_proj.bias.zero_()
            attention.v_proj.weight[:size, :size] = says
            attention.o_proj.weight[:size, :size] = torch.eye(size)
        head.lm_head.weight.copy_(torch.eye(size, 64))
    save_dflash(head, folder, TINY)
    return model


def perfect_draft_model(k: int, folder: Path) -> LlamaForCausalLM:
    """All layers and all words: the target itself."""
    model = echo_target()
    save_pruned(prune(model, 4, None, torch.arange(32)), folder, TINY)
    return model


def perfect_mtp(names: plain.MTPNames, folder: Path) -> LlamaForCausalLM:
    """Hands the embedding of the next token on; the target's own head says which one follows."""
    model = echo_target()
    model.save_pretrained(folder)
    own = dict(blank(model.model.layers[0]).state_dict())
    own |= {f"{name}.weight": torch.ones(64) for name in names.norms}
    parts = [torch.eye(64), torch.zeros(64, 64)]  # of the embedding, and of the hidden state
    projection = torch.cat(parts[::-1] if names is plain.MIMO else parts, 1)
    own[f"{names.projection}.weight"] = projection
    save_file(
        {names.prefix + name: tensor.clone() for name, tensor in own.items()},
        folder / "mtp.safetensors",
    )
    return model


# --- plain computations


def plain_eagle3(
    tensors: dict[str, Tensor],
    document: dict[str, Any],
    target: Any,
    text: list[int],
    path: list[int],
    _: int,
) -> Tensor:
    return plain.eagle3_logits(tensors, document, target, text + path, len(path) + 1)[-1]


def plain_eagle(
    tensors: dict[str, Tensor],
    document: dict[str, Any],
    target: Any,
    text: list[int],
    path: list[int],
    _: int,
) -> Tensor:
    return plain.eagle_logits(tensors, document, target, text + path, len(path) + 1)[-1]


def plain_medusa(
    tensors: dict[str, Tensor], _: Any, target: Any, text: list[int], path: list[int], __: int
) -> Tensor:
    return plain.medusa_logits(tensors, target, text, len(path) + 1)[-1]


def plain_dflash(
    tensors: dict[str, Tensor],
    document: dict[str, Any],
    target: Any,
    text: list[int],
    path: list[int],
    most: int,
) -> Tensor:
    return plain.dflash_logits(tensors, document, target, text, most)[len(path)]


def plain_draft_model(
    tensors: dict[str, Tensor],
    document: dict[str, Any],
    target: Any,
    text: list[int],
    path: list[int],
    _: int,
) -> Tensor:
    return plain.pruned_logits(tensors, document, target, text + path)


def plain_mtp(names: plain.MTPNames) -> Plain:
    def logits(
        tensors: dict[str, Tensor], _: Any, target: Any, text: list[int], path: list[int], __: int
    ) -> Tensor:
        return plain.mtp_logits(tensors, names, target, text + path, len(path) + 1)[-1]

    return logits


CASES = (
    Case(
        "eagle",
        "eagle",
        EagleProposer,
        write_eagle,
        ("fc.weight", "fc.weight"),
        plain_eagle,
        perfect_eagle,
    ),
    Case(
        "eagle3",
        "eagle3",
        Eagle3Proposer,
        write_eagle3,
        ("fc.weight", "fc.weight"),
        plain_eagle3,
        perfect_eagle3,
        lambda target: Eagle3Training(target, "tiny", 3),
    ),
    Case(
        "medusa",
        "medusa",
        MedusaProposer,
        write_medusa,
        ("blocks.1.layers.0.weight", "blocks.1.layers.0.weight"),
        plain_medusa,
        perfect_medusa,
        lambda target: MedusaTraining(target, "tiny", 3),
    ),
    Case(
        "dflash",
        "dflash",
        DFlashProposer,
        write_dflash,
        ("fc.weight", "fc.weight"),
        plain_dflash,
        perfect_dflash,
        lambda target: DFlashTraining(target, "tiny", MASK, 4, 1, 2),
    ),
    Case(
        "draft_model",
        "draft_model",
        DraftModelProposer,
        write_draft_model,
        ("model.layers.1.mlp.up_proj.weight", "model.layers.1.mlp.up_proj.weight"),
        plain_draft_model,
        perfect_draft_model,
        lambda target: DraftModelTraining(target, "tiny", 2),
    ),
    *(
        Case(
            f"mtp, {names.family}",
            "mtp",
            MTPProposer,
            lambda target, folder, names=names: write_mtp(names, target, folder),
            (f"{names.prefix}{names.projection}.weight", "projection.weight"),
            plain_mtp(names),
            lambda k, folder, names=names: perfect_mtp(names, folder),
            in_target=True,
        )
        for names in (plain.MIMO, plain.DEEPSEEK)
    ),
)
BY_NAME = {case.name: case for case in CASES}


# --- drafting in the engine, each logit held against the plain computation


class CheckedDrafter:
    """A drafter whose logits behind every node are held against the plain computation."""

    def __init__(self, drafter: Any, logits: Callable[[list[int], list[int]], Tensor]) -> None:
        self.drafter = drafter
        self.logits = logits
        self.compared = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.drafter, name)

    def run(self, underway: Sequence[Underway]) -> Tensor:
        found: Tensor = self.drafter.run(underway)
        row = 0
        for draft in underway:
            nodes = draft.nodes
            for newest in range(len(nodes) - draft.num_newest, len(nodes)):
                path = list(nodes.tokens_before(newest + 1)) if len(nodes) else []
                with torch.inference_mode():
                    wanted = self.logits(list(draft.request.token_ids), path)
                gap = (found[row] - wanted).abs().max() / wanted.abs().max()
                assert gap < 1e-5, f"not what a plain computation says: {gap:.1e}"
                row += 1
                self.compared += 1
        return found


class Remembering:
    """A target that runs each text once: the nodes of a draft stand behind the same one."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.outputs: dict[tuple[int, ...], Any] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def __call__(self, ids: Tensor, output_hidden_states: bool) -> Any:
        key = tuple(ids[0].tolist())
        if key not in self.outputs:
            self.outputs[key] = self.model(ids, output_hidden_states=output_hidden_states)
        return self.outputs[key]


PROMPTS = [tuple((7 * i + j * j) % 256 for j in range(5 + 6 * i)) for i in range(4)]
# Beginnings that are cached, and go on otherwise right behind a block.
PROMPTS += [(*PROMPTS[3][:16], i, 7) for i in range(2)]


def run_checked(
    case: Case,
    tiny: Path,
    folder: Path,
    k: int = MOST,
    engine: dict[str, Any] | None = None,
    **options: Any,
) -> int:
    """Texts behind shared beginnings; half of them sampled, so that drafts are often rejected.

    Args:
        case: the kind.
        tiny: the target's folder.
        folder: the head's.
        k: draft length.
        engine: options of the engine.
        options: of the method.

    Returns:
        How many logits were compared.
    """
    runner = case.target(tiny, folder)
    model = Auto.from_pretrained(tiny, dtype=torch.float64, attn_implementation="eager")
    reference = Remembering(model)
    tensors: dict[str, Tensor] = {}
    for path in folder.glob("*.safetensors"):
        tensors |= load_file(path)
    document = json.loads((folder / "config.json").read_text())

    class Checked(case.proposer):  # type: ignore[misc, name-defined]
        def bind(self, target: Any) -> None:
            super().bind(target)
            self.drafter = CheckedDrafter(
                self.drafter,
                lambda text, path: case.plain(
                    tensors, document, reference, text, path, self.shape.depth
                ),
            )

    proposer = Checked(k, **case.options(folder), **options)
    defaults: dict[str, Any] = {"block_size": 4, "max_num_seqs": 3, "max_model_len": 64}
    made = Engine(EngineConfig("tiny", **(defaults | (engine or {}))), runner, proposer=proposer)
    for i, prompt in enumerate(PROMPTS):
        params = SamplingParams(temperature=0.7 * (i % 2), max_tokens=12, ignore_eos=True)
        made.add_request(prompt, params, seed=i)
        made.step()
    while made.has_unfinished_requests:
        made.step()
    assert made.counters.num_draft_tokens
    compared: int = proposer.drafter.compared
    return compared


def acceptance_length(case: Case, k: int, folder: Path) -> float:
    """Mean acceptance length of a perfect head, k tokens a draft."""
    runner = ModelRunner(case.perfect(k, folder), name=str(folder))
    proposer = case.proposer(k, **case.options(folder))
    engine = Engine(EngineConfig("echo", max_model_len=256), runner, proposer=proposer)
    params = SamplingParams(temperature=0, max_tokens=1 + 5 * (k + 1), ignore_eos=True)
    shortest = (4, 1) if case.in_target else (4,)  # MTP layers are trained to ignore position 0
    for prompt in ((1, 2, 3), shortest, (9, 8, 7, 6, 5)):
        engine.add_request(prompt, params)
    while engine.has_unfinished_requests:
        engine.step()
    return engine.counters.mean_acceptance_length
