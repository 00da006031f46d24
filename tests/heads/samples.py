"""Samples as training reads them, from transformers' own hidden states."""

from __future__ import annotations

from typing import Any

import torch

from fairdraft.heads import Sample


def sample_of(model: Any, text: list[int], prompt: int, layers: tuple[int, ...]) -> Sample:
    with torch.inference_mode():
        states = model(torch.tensor([text]), output_hidden_states=True).hidden_states
    found = [states[layer][0] for layer in layers]
    return Sample(
        torch.tensor(text),
        prompt,
        torch.cat([states[-1][0, :, :0], *found], -1),
        states[-1][0].clone(),
    )
