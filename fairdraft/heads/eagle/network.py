"""EAGLE: decoder layers that write the target's last hidden state on (Li et al. 2024).

arXiv 2401.15077. A row stands for a position t: it reads the target's last hidden state there and
the token at t + 1, and gives the hidden state at t + 1, which the target's own head reads.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from fairdraft.heads.base import Attend, Head, HeadConfig, rotation
from fairdraft.heads.eagle3.network import LlamaLayer
from fairdraft.heads.files import (
    HeadFile,
    borrow_vocabulary,
    fill,
    refuse_lossy,
    require_fit,
    require_tokens,
    write_head_file,
)


class EagleHead(Head):
    """The network. Names of parameters are those of the original files."""

    def __init__(self, config: HeadConfig, bias: bool = False, input_norm: bool = False) -> None:
        super().__init__(config)
        size = config.layer.hidden_size
        self.fc = nn.Linear(2 * size, size, bias=bias)
        count = config.layer.num_hidden_layers
        self.layers = nn.ModuleList(LlamaLayer(config, i, size) for i in range(count))
        if not input_norm:
            self.layers[0].input_layernorm = nn.Identity()
        self.rotary = LlamaRotaryEmbedding(config.layer)

    def fuse(self, states: Tensor) -> Tensor:
        """[…, d] as they are."""
        return states

    def forward(
        self, embeds: Tensor, hidden: Tensor, positions: Tensor, attend: Attend
    ) -> tuple[Tensor, Tensor]:
        """One pass of the layers.

        Args:
            embeds: […, d] of each row's next token.
            hidden: […, d], the target's last states or an earlier pass's output.
            positions: […] int64.
            attend: writes keys and values, and reads what each row may see.

        Returns:
            […, d] twice: for `lm_head` and for the next draft token's row it is the same.
        """
        cos, sin = rotation(self.rotary, hidden, positions)
        hidden = self.fc(torch.cat([embeds, hidden], dim=-1))
        for layer in self.layers:
            hidden = layer(hidden, cos, sin, attend)
        return hidden, hidden


def load_eagle(file: HeadFile, target: Any) -> EagleHead:
    """An EAGLE head in the target's precision, on its device, without gradients.

    Args:
        file: of kind "eagle".
        target: the transformers model; a missing embedding or head is borrowed from it.

    Raises:
        CheckpointError: the file does not fit the target, or its tensors do not fit its config.
    """
    refuse_lossy(file)
    text = target.config.get_text_config()
    tensors = {name.removeprefix("model."): tensor for name, tensor in file.tensors.items()}
    tensors.pop("t2d", None)
    inner = file.config.get("transformer_layer_config") or file.config
    foreign = ("architectures", "model_type", "speculators_config", "dtype", "torch_dtype")
    layer = LlamaConfig(**{key: value for key, value in inner.items() if key not in foreign})
    require_fit(file, "hidden_size", layer.hidden_size, text.hidden_size)
    require_fit(file, "vocab_size", layer.vocab_size, text.vocab_size)
    config = HeadConfig(
        layer,
        (text.num_hidden_layers,),
        int(file.config.get("draft_vocab_size") or text.vocab_size),
        text.hidden_size,
        "embed_tokens.weight" in tensors,
    )
    normed = "layers.0.input_layernorm.weight" in tensors
    head = EagleHead(config, "fc.bias" in tensors, normed)
    borrow_vocabulary(tensors, config.draft_vocab_size, target)
    fill(head, tensors, file.name, target)
    require_tokens(file, "d2t", head.target_ids, text)
    return head


def save_eagle(head: EagleHead, folder: Path) -> None:
    """Write a head as the original project and vLLM read it, its vocabulary left to the target.

    Args:
        head: its embedding is the target's own and is not written.
        folder: made if it is not there.
    """
    document = head.config.layer.to_dict() | {"architectures": ["EagleLlamaForCausalLM"]}
    left_out = ("lm_head.weight", "d2t")
    tensors = {name: t for name, t in head.state_dict().items() if name not in left_out}
    write_head_file(folder, document, tensors)
