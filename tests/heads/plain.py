"""Heads computed plainly from a file's tensors: one text, whole matrices, no cache, no batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


def rms(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * weight


def rotate(x: Tensor, positions: Tensor, theta: float) -> Tensor:
    """[n, heads, dim], the halves of each head turned by their position."""
    half = x.shape[-1] // 2
    angles = positions[:, None].double() * theta ** (-torch.arange(half).double() / half)
    cos, sin = angles.cos()[:, None].float(), angles.sin()[:, None].float()
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


def layer(
    tensors: dict[str, Tensor], config: dict[str, Any], embeds: Tensor, hidden: Tensor
) -> Tensor:
    """[n, d]: rows at positions 0 … n − 1, each seeing those before it."""
    inner = config["transformer_layer_config"]
    eps = inner["rms_norm_eps"]
    get = {name.removeprefix("layers.0."): t.float() for name, t in tensors.items()}
    normed = rms(hidden, get["hidden_norm.weight"], eps)
    residual = normed if config["norm_before_residual"] else hidden
    x = torch.cat([rms(embeds, get["input_layernorm.weight"], eps), normed], -1)
    return decoder_layer(get, inner, residual, x)


def decoder_layer(
    get: dict[str, Tensor], shape: dict[str, Any], residual: Tensor, x: Tensor
) -> Tensor:
    """[n, d]: attention to x, then the MLP, each added to the residual."""
    eps, heads, dim = shape["rms_norm_eps"], shape["num_attention_heads"], shape["head_dim"]
    n = len(x)
    positions = torch.arange(n)
    q, k, v = (
        (x @ get[f"self_attn.{name}_proj.weight"].T).view(n, -1, dim) for name in ("q", "k", "v")
    )
    theta = shape.get("rope_theta") or shape["rope_parameters"]["rope_theta"]
    q, k = rotate(q, positions, theta), rotate(k, positions, theta)
    k, v = (t.repeat_interleave(heads // t.shape[1], 1) for t in (k, v))
    scores = torch.einsum("qhd,khd->hqk", q, k) / dim**0.5
    scores = scores.masked_fill(~torch.ones(n, n, dtype=torch.bool).tril(), -torch.inf)
    read = torch.einsum("hqk,khd->qhd", scores.softmax(-1), v).reshape(n, -1)
    hidden = residual + read @ get["self_attn.o_proj.weight"].T
    y = rms(hidden, get["post_attention_layernorm.weight"], eps)
    gate, up = y @ get["mlp.gate_proj.weight"].T, y @ get["mlp.up_proj.weight"].T
    return hidden + (torch.nn.functional.silu(gate) * up) @ get["mlp.down_proj.weight"].T


def fused(tensors: dict[str, Tensor], config: dict[str, Any], states: list[Tensor]) -> Tensor:
    eps = config["transformer_layer_config"]["rms_norm_eps"]
    if config["fc_norm"]:
        states = [rms(s, tensors[f"fc_norm.{i}.weight"].float(), eps) for i, s in enumerate(states)]
    x = torch.cat(states, -1)
    if config["norm_before_fc"]:
        x = rms(x, tensors["input_norm.weight"].float(), eps)
    return x @ tensors["fc.weight"].float().T


def eagle3_logits(
    tensors: dict[str, Tensor], config: dict[str, Any], target: Any, text: list[int], count: int
) -> Tensor:
    """[count, draft vocabulary]: behind a text, and behind its last `count` − 1 tokens as drafted.

    The last `count` − 1 tokens of the text count as drafted: their rows read the head's own output.
    """
    eps = config["transformer_layer_config"]["rms_norm_eps"]
    embedding = target.get_input_embeddings().weight.float()
    settled = len(text) - count + 1
    ids = torch.tensor([text[: settled - 1]])
    hidden_states = target(ids, output_hidden_states=True).hidden_states
    states = [hidden_states[i][0].float() for i in config["eagle_aux_hidden_state_layer_ids"]]
    hidden = fused(tensors, config, states)
    norm, head = tensors["norm.weight"].float(), tensors["lm_head.weight"].float()
    rows = []
    for drafted in range(count):
        embeds = embedding[torch.tensor(text[1 : settled + drafted])]
        output = layer(tensors, config, embeds, hidden)[-1]
        normed = rms(output, norm, eps)
        rows.append(normed @ head.T)
        hidden = torch.cat([hidden, (normed if config["norm_output"] else output)[None]])
    return torch.stack(rows)


def medusa_logits(tensors: dict[str, Tensor], target: Any, text: list[int], count: int) -> Tensor:
    """[count, draft vocabulary]: what heads 0 … count − 1 say behind a text."""
    ids = torch.tensor([text[:-1]])
    hidden = target(ids, output_hidden_states=True).hidden_states[-1][0, -1].float()
    rows = []
    for head in range(count):
        x, layer = hidden, 0
        while (name := f"blocks.{head}.layers.{layer}.weight") in tensors:
            bias = tensors[name.replace("weight", "bias")].float()
            x = x + torch.nn.functional.silu(x @ tensors[name].float().T + bias)
            layer += 1
        rows.append(x @ tensors["lm_head.weight"].float().T)
    return torch.stack(rows)


def dflash_logits(
    tensors: dict[str, Tensor], config: dict[str, Any], target: Any, text: list[int], count: int
) -> Tensor:
    """[count, draft vocabulary]: what a block of the text's last token and `count` masks says."""
    inner = config["transformer_layer_config"]
    eps, heads, dim = inner["rms_norm_eps"], inner["num_attention_heads"], inner["head_dim"]
    theta = inner["rope_theta"]
    get = {name: t.float() for name, t in tensors.items()}
    ids = torch.tensor([text[:-1]])
    hidden_states = target(ids, output_hidden_states=True).hidden_states
    states = [hidden_states[i][0].float() for i in config["aux_hidden_state_layer_ids"]]
    context = rms(torch.cat(states, -1) @ get["fc.weight"].T, get["hidden_norm.weight"], eps)
    block = torch.tensor([text[-1], *[config["mask_token_id"]] * count])
    hidden = target.get_input_embeddings().weight.float()[block]
    before = torch.arange(len(text) - 1)
    inside = torch.arange(len(text) - 1, len(text) + count)
    for i in range(inner["num_hidden_layers"]):
        own = {
            name.removeprefix(f"layers.{i}."): t
            for name, t in get.items()
            if name.startswith(f"layers.{i}.")
        }

        def project(x: Tensor, name: str, positions: Tensor, own: dict[str, Tensor]) -> Tensor:
            y = (x @ own[f"self_attn.{name}_proj.weight"].T).view(len(x), -1, dim)
            if name == "v":
                return y
            return rotate(rms(y, own[f"self_attn.{name}_norm.weight"], eps), positions, theta)

        x = rms(hidden, own["input_layernorm.weight"], eps)
        q = project(x, "q", inside, own)
        k, v = (
            torch.cat([project(context, name, before, own), project(x, name, inside, own)])
            for name in ("k", "v")
        )
        k, v = (t.repeat_interleave(heads // t.shape[1], 1) for t in (k, v))
        weights = (torch.einsum("qhd,khd->hqk", q, k) / dim**0.5).softmax(-1)
        read = torch.einsum("hqk,khd->qhd", weights, v).reshape(len(x), -1)
        hidden = hidden + read @ own["self_attn.o_proj.weight"].T
        y = rms(hidden, own["post_attention_layernorm.weight"], eps)
        gate, up = y @ own["mlp.gate_proj.weight"].T, y @ own["mlp.up_proj.weight"].T
        hidden = hidden + (torch.nn.functional.silu(gate) * up) @ own["mlp.down_proj.weight"].T
    return rms(hidden[1:], get["norm.weight"], eps) @ get["lm_head.weight"].T


def eagle_logits(
    tensors: dict[str, Tensor], config: dict[str, Any], target: Any, text: list[int], count: int
) -> Tensor:
    """[count, V]: behind a text, and behind its last `count` − 1 tokens as drafted."""
    get = {name.removeprefix("layers.0."): t.float() for name, t in tensors.items()}
    embedding = target.get_input_embeddings().weight.float()
    settled = len(text) - count + 1
    ids = torch.tensor([text[: settled - 1]])
    hidden = target(ids, output_hidden_states=True).hidden_states[-1][0].float()
    rows = []
    for drafted in range(count):
        embeds = embedding[torch.tensor(text[1 : settled + drafted])]
        fused = torch.cat([embeds, hidden], -1) @ get["fc.weight"].T
        output = decoder_layer(get, config, fused, fused)[-1]
        rows.append(output @ target.lm_head.weight.float().T)
        hidden = torch.cat([hidden, output[None]])
    return torch.stack(rows)


@dataclass(frozen=True)
class MTPNames:
    """What a family of checkpoints calls the parts of an MTP layer beside the tiny Llama."""

    family: str
    prefix: str
    token: str
    hidden: str
    projection: str
    final: str

    @property
    def norms(self) -> tuple[str, str, str]:
        return self.token, self.hidden, self.final


MIMO = MTPNames(
    "MiMo",
    "model.mtp_layers.0.",
    "token_layernorm",
    "hidden_layernorm",
    "input_proj",
    "final_layernorm",
)
DEEPSEEK = MTPNames("DeepSeek", "model.layers.4.", "enorm", "hnorm", "eh_proj", "shared_head.norm")


def mtp_logits(
    tensors: dict[str, Tensor], names: MTPNames, target: Any, text: list[int], count: int
) -> Tensor:
    """[count, V]: behind a text, and behind its last `count` − 1 tokens as drafted."""
    get = {n.removeprefix(names.prefix): t for n, t in tensors.items() if names.prefix in n}
    shape = target.config.to_dict()
    eps = shape["rms_norm_eps"]
    embedding = target.get_input_embeddings().weight.float()
    settled = len(text) - count + 1
    ids = torch.tensor([text[: settled - 1]])
    hidden = target(ids, output_hidden_states=True).hidden_states[-1][0].float()
    rows = []
    for drafted in range(count):
        embeds = embedding[torch.tensor(text[1 : settled + drafted])]
        embeds = torch.cat([torch.zeros(1, embeds.shape[1]), embeds[1:]])
        parts = [
            rms(embeds, get[f"{names.token}.weight"], eps),
            rms(hidden, get[f"{names.hidden}.weight"], eps),
        ]
        x = torch.cat(parts[::-1] if names is MIMO else parts, -1)
        x = x @ get[f"{names.projection}.weight"].T
        output = decoder_layer(get, shape, x, rms(x, get["input_layernorm.weight"], eps))[-1]
        normed = rms(output, get[f"{names.final}.weight"], eps)
        rows.append(normed @ target.lm_head.weight.float().T)
        hidden = torch.cat([hidden, (normed if names is MIMO else output)[None]])
    return torch.stack(rows)


def pruned_logits(
    tensors: dict[str, Tensor], config: dict[str, Any], target: Any, text: list[int]
) -> Tensor:
    """[draft vocabulary]: what the layers of a pruned Llama say behind a text."""
    eps = config["rms_norm_eps"]
    hidden = target.get_input_embeddings().weight.float()[torch.tensor(text)]
    for i in range(config["num_hidden_layers"]):
        prefix = f"model.layers.{i}."
        get = {n.removeprefix(prefix): t.float() for n, t in tensors.items() if prefix in n}
        normed = rms(hidden, get["input_layernorm.weight"], eps)
        hidden = decoder_layer(get, config, hidden, normed)
    known = tensors["d2t"] + torch.arange(len(tensors["d2t"]))
    last = rms(hidden[-1], tensors["model.norm.weight"].float(), eps)
    return last @ target.lm_head.weight.float()[known].T
