"""Readers of transformers' models, family by family, into the records that `fused` runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import nn

from fairdraft.models.cpu.layers import (
    GATES,
    NO_ROTATION,
    NONE,
    Decoder,
    Floats,
    Layer,
    Rotation,
    floats,
    join,
)
from fairdraft.models.cpu.linear import kernel_fits

# Kinds of rotary embeddings whose frequencies are the same at every length of a text.
STEADY_ROTATIONS = {"default", "linear", "llama3", "yarn"}


def activation(config: Any) -> str:
    """Return the name of the MLP's activation."""
    return str(getattr(config, "hidden_activation", None) or config.hidden_act)


@dataclass(frozen=True)
class ModuleNames:
    """What a family calls its modules.

    Args:
        norms: names in the order of `Layer.norms`; "" where there is none.
        qkv, gate_up: names of the linear layers that are one product.
        norm_offset: added to the weights of norms.
    """

    norms: tuple[str, str, str, str] = ("input_layernorm", "", "post_attention_layernorm", "")
    qkv: tuple[str, ...] = ("q_proj", "k_proj", "v_proj")
    gate_up: tuple[str, ...] = ("gate_proj", "up_proj")
    norm_offset: float = 0.0

    def norm(self, owner: Any, name: str) -> Floats:
        """Return the weight of a norm, `NONE` where the module has none of this name."""
        weight = getattr(getattr(owner, name, None), "weight", None) if name else None
        return NONE if weight is None else floats(weight) + np.float32(self.norm_offset)

    def layer(self, layer: Any, config: Any, rotation: Rotation) -> Layer:
        """Read one layer; its linear layers come to share their weights with the record's."""
        attention, mlp = layer.self_attn, layer.mlp
        first, second, third, fourth = (self.norm(layer, name) for name in self.norms)
        return Layer(
            qkv=join(*(getattr(attention, name) for name in self.qkv)),
            output=join(attention.o_proj),
            gate_up=join(*(getattr(mlp, name) for name in self.gate_up)),
            down=join(mlp.down_proj),
            gate=GATES[activation(config)],
            num_heads=attention.o_proj.in_features // attention.head_dim,
            scale=float(attention.scaling),
            norms=(first, second, third, fourth),
            rotation=rotation,
            q_norm=self.norm(attention, "q_norm"),
            k_norm=self.norm(attention, "k_norm"),
        )

    def decoder(self, model: Any, rotations: Sequence[Rotation]) -> Decoder:
        base, config = model.model, model.config
        pairs = zip(base.layers, rotations, strict=True)
        return Decoder(
            embedding=base.embed_tokens.weight.data,
            layers=[self.layer(layer, config, rotation) for layer, rotation in pairs],
            norm=self.norm(base, "norm"),
            eps=float(config.rms_norm_eps),
            head=model.lm_head.weight.data,
        )


LLAMA = ModuleNames()
_PHI3 = ModuleNames(qkv=("qkv_proj",), gate_up=("gate_up_proj",))
_OLMO2 = ModuleNames(norms=("", "post_attention_layernorm", "", "post_feedforward_layernorm"))
_GEMMA = ModuleNames(
    norms=(
        "input_layernorm",
        "post_attention_layernorm",
        "pre_feedforward_layernorm",
        "post_feedforward_layernorm",
    ),
    norm_offset=1.0,
)


def one_rotation(rotary: Any) -> Rotation:
    """Return what a rotary module of transformers computes."""
    return Rotation(floats(rotary.inv_freq), float(rotary.attention_scaling))


def _plain(names: ModuleNames) -> Callable[[Any], Decoder]:
    """Make the reader of a family whose layers all rotate alike."""

    def read(model: Any) -> Decoder:
        rotation = one_rotation(model.model.rotary_emb)
        return names.decoder(model, [rotation] * len(model.model.layers))

    return read


def _smollm3(model: Any) -> Decoder:
    rotation = one_rotation(model.model.rotary_emb)
    turned = [layer.self_attn.use_rope for layer in model.model.layers]
    return LLAMA.decoder(model, [rotation if turns else NO_ROTATION for turns in turned])


def _granite(model: Any) -> Decoder:
    decoder, config = _plain(LLAMA)(model), model.config
    return replace(
        decoder,
        layers=[replace(x, residual=float(config.residual_multiplier)) for x in decoder.layers],
        embedding_factor=float(config.embedding_multiplier),
        logits_divisor=float(config.logits_scaling),
    )


def _scaled(decoder: Decoder, model: Any) -> Decoder:
    """Add what Gemma does to embeddings and logits."""
    factor = model.model.embed_tokens.embed_scale.to(decoder.embedding.dtype)
    softcap = float(model.config.final_logit_softcapping or 0)
    return replace(decoder, embedding_factor=float(factor), logits_softcap=softcap)


def _gemma2(model: Any) -> Decoder:
    decoder = _scaled(_plain(_GEMMA)(model), model)
    softcap = model.config.attn_logit_softcapping
    return replace(decoder, layers=[replace(layer, softcap=softcap) for layer in decoder.layers])


def _gemma3(model: Any) -> Decoder:
    rotary, kinds = model.model.rotary_emb, model.config.layer_types

    def rotation(kind: str) -> Rotation:
        frequencies = floats(getattr(rotary, f"{kind}_inv_freq"))
        return Rotation(frequencies, float(getattr(rotary, f"{kind}_attention_scaling")))

    rotations = {kind: rotation(kind) for kind in rotary.layer_types}
    return _scaled(_GEMMA.decoder(model, [rotations[kind] for kind in kinds]), model)


# Model type → reader of its transformers model.
READERS: dict[str, Callable[[Any], Decoder]] = {
    "gemma2": _gemma2,
    "gemma3_text": _gemma3,
    "granite": _granite,
    "llama": _plain(LLAMA),
    "mistral": _plain(LLAMA),
    "olmo2": _plain(_OLMO2),
    "phi3": _plain(_PHI3),
    "qwen2": _plain(LLAMA),
    "qwen3": _plain(LLAMA),
    "smollm3": _smollm3,
}


def obstacle(model: Any) -> str | None:
    """Return why `READERS` cannot read a transformers model; None if they can."""
    config = model.config
    if config.model_type not in READERS:
        return f"layers of model type {config.model_type!r} are not known"
    if model.lm_head.bias is not None:
        return "its head has a bias"
    return unfit(model, config, model.model.rotary_emb)


def unfit(model: nn.Module, config: Any, rotary: Any) -> str | None:
    """Return what of a model's layers no record can hold; None if there is nothing.

    Args:
        model: all of its linear layers must suit the kernels.
        config: transformers' configuration of the layers.
        rotary: transformers' module of rotary angles.
    """
    if activation(config) not in GATES:
        return f"its activation is {activation(config)!r}; {', '.join(GATES)} are known"
    kinds = rotary.rope_type
    unsteady = set(kinds.values() if isinstance(kinds, dict) else [kinds]) - STEADY_ROTATIONS
    if unsteady:
        return f"its rotary embedding is of kind {', '.join(sorted(unsteady))}"
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and not kernel_fits(module.weight):
            weight = module.weight
            shape = f"{tuple(weight.shape)} in {weight.dtype} on {weight.device}"
            return f"the kernels cannot read {name}, {shape}"
    return None
