"""A faster way through Llama-shaped models on CPU: the same arithmetic in fewer, larger pieces.

transformers' module tree is made for every model and every device; between its products it runs
many small operators a layer. Here a layer is nine calls: products with the query, key and
value weights joined, and the gate and up weights joined, and `kernels` between them. Activations
between products stay in float32, products take the weights' dtype.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fairdraft.models.attention import PagedAttention
from fairdraft.models.batch import RunOutput
from fairdraft.models.cpu import rowwise
from fairdraft.models.cpu.linear import as_array, kernel_fits, operand_dtype, product

# Model types whose layer is RMSNorm → attention → RMSNorm → gated SiLU, with nothing else between.
FUSED_MODEL_TYPES = ("llama", "mistral", "qwen3")


def can_fuse(model: Any) -> bool:
    """Whether `FusedDecoder` computes what this transformers model computes."""
    if model.config.model_type not in FUSED_MODEL_TYPES or model.device.type != "cpu":
        return False
    linears = [m for m in model.modules() if isinstance(m, nn.Linear)]
    plain = all(m.bias is None and kernel_fits(m.weight) for m in linears)
    return plain and model.config.hidden_act == "silu"


def _join(*linears: nn.Linear) -> Tensor:
    """One weight [sum of N, K] of several; theirs become views of it, so memory is held once."""
    joined = torch.cat([linear.weight.data for linear in linears])
    start = 0
    for linear in linears:
        end = start + linear.out_features
        linear.weight.data = joined[start:end]
        start = end
    return joined


@dataclass(frozen=True)
class _Layer:
    input_norm: Tensor
    qkv: Tensor
    q_norm: Tensor
    k_norm: Tensor
    output: Tensor
    mlp_norm: Tensor
    gate_up: Tensor
    down: Tensor
    scale: float
    num_heads: int

    @classmethod
    def of(cls, layer: Any) -> _Layer:
        attention, mlp = layer.self_attn, layer.mlp

        def norm(name: str) -> Tensor:
            module = getattr(attention, name, None)
            return torch.empty(0) if module is None else module.weight.data.float()

        return cls(
            input_norm=layer.input_layernorm.weight.data.float(),
            qkv=_join(attention.q_proj, attention.k_proj, attention.v_proj),
            q_norm=norm("q_norm"),
            k_norm=norm("k_norm"),
            output=attention.o_proj.weight.data,
            mlp_norm=layer.post_attention_layernorm.weight.data.float(),
            gate_up=_join(mlp.gate_proj, mlp.up_proj),
            down=mlp.down_proj.weight.data,
            scale=float(attention.scaling),
            num_heads=attention.q_proj.out_features // attention.head_dim,
        )


class FusedDecoder:
    """Runs a model for which `can_fuse` holds.

    Args:
        model: the transformers model. Its weights are shared, not copied.
    """

    @torch.inference_mode()
    def __init__(self, model: Any) -> None:
        self.embedding: Tensor = model.model.embed_tokens.weight.data
        self.rotary = model.model.rotary_emb
        self.layers = [_Layer.of(layer) for layer in model.model.layers]
        self.norm: Tensor = model.model.norm.weight.data.float()
        self.head: Tensor = model.lm_head.weight.data
        self.eps = float(model.config.rms_norm_eps)

    def run(
        self,
        attention: PagedAttention,
        layers: Collection[int],
        num_layers: int | None = None,
    ) -> RunOutput:
        """One flat batch through the model, or its first layers; see `ModelRunner.run`."""
        chosen = self.layers[:num_layers]
        batch, storage = attention.batch, attention.storage
        dtype = self.embedding.dtype
        num_rows = batch.num_rows
        x = self.embedding[batch.token_ids].float()
        cos, sin = (t[0].float().numpy() for t in self.rotary(x, batch.positions[None]))
        slots = batch.slots.numpy()
        hidden: dict[int, Tensor] = {}
        operand = operand_dtype(dtype)
        normed = torch.empty(num_rows, x.shape[1], dtype=operand)
        joined, inner_size = len(self.layers[0].qkv), len(self.layers[0].gate_up) // 2
        qkv, gate_up = torch.empty(num_rows, joined), torch.empty(num_rows, 2 * inner_size)
        inner = torch.empty(num_rows, inner_size, dtype=operand)
        added = torch.empty_like(x)
        if 0 in layers:
            hidden[0] = x.to(dtype, copy=True)
        rowwise.rms_norm(x.numpy(), self.layers[0].input_norm.numpy(), self.eps, as_array(normed))
        for i, layer in enumerate(chosen):
            keys, values = storage.keys[i], storage.values[i]
            product(layer.qkv, normed, qkv)
            queries = torch.empty(num_rows, layer.num_heads, keys.shape[2], dtype=dtype)
            rowwise.rotate_and_store(
                qkv.numpy(),
                cos,
                sin,
                layer.q_norm.numpy(),
                layer.k_norm.numpy(),
                self.eps,
                slots,
                as_array(queries),
                as_array(keys),
                as_array(values),
            )
            read = attention.attend(i, queries, layer.scale, None)
            product(layer.output, read.reshape(num_rows, -1), added)
            rowwise.add_rms_norm(
                x.numpy(), added.numpy(), layer.mlp_norm.numpy(), self.eps, as_array(normed)
            )
            product(layer.gate_up, normed, gate_up)
            rowwise.silu_multiply(gate_up.numpy(), as_array(inner))
            last = i + 1 == len(chosen)
            norm = self.norm if last else chosen[i + 1].input_norm
            product(layer.down, inner, added)
            rowwise.add_rms_norm(x.numpy(), added.numpy(), norm.numpy(), self.eps, as_array(normed))
            if i + 1 in layers:
                hidden[i + 1] = normed.to(dtype, copy=True) if last else x.to(dtype, copy=True)
        logits = product(self.head, normed[batch.logit_rows])
        return RunOutput(logits, hidden)
