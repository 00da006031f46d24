"""The target's own first layers as a model: same weights, same KV slots, no copy."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from fairdraft.models.batch import FlatBatch, RunOutput


def shallow_model(model: Any, num_layers: int) -> Any:
    """A transformers causal LM of a model's first layers, its norm and its head.

    Modules are shared; only the list of layers is cut.

    Args:
        model: with more than `num_layers` layers.
        num_layers: how many stay.
    """
    count = model.config.get_text_config().num_hidden_layers
    whole, base = copy.copy(model), copy.copy(model.base_model)
    whole._modules, base._modules = dict(model._modules), dict(base._modules)
    setattr(whole, model.base_model_prefix, base)
    name, layers = next(
        (name, module)
        for name, module in base.named_children()
        if isinstance(module, nn.ModuleList) and len(module) == count
    )
    setattr(base, name, layers[:num_layers])
    base.config = copy.copy(base.config)
    base.config.num_hidden_layers = num_layers
    if whole.config is model.base_model.config:  # else it holds the text model's somewhere inside
        whole.config = base.config
    return whole


class EarlyExit:
    """Runs a target's first layers on the target's own KV.

    A drafter made of them writes KV into slots that verification writes again, with the same
    values where the token is accepted. It never has to catch up.

    Args:
        runner: the target's `ModelRunner`.
        num_layers: how many layers run before the norm and the head.
    """

    def __init__(self, runner: Any, num_layers: int) -> None:
        self.runner = runner
        self.num_layers = num_layers
        self._model = shallow_model(runner.model, num_layers) if runner.fused is None else None

    @torch.inference_mode()
    def run(self, batch: FlatBatch) -> RunOutput:
        """One flat batch; see `ModelRunner.run`."""
        attention = self.runner.attention(batch)
        if self._model is None:
            output: RunOutput = self.runner.fused.run(attention, (), self.num_layers)
            return output
        logits = self._model(
            input_ids=batch.token_ids[None],
            position_ids=batch.positions[None],
            use_cache=False,
            logits_to_keep=batch.logit_rows,
            paged=attention,
        ).logits[0]
        return RunOutput(logits, {})
